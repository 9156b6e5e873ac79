//! The settings of connections: a URL and the rest.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use highwater_net::files::{FromFiles, first_line};
use tokio_postgres::config::SslMode;

use super::tls::Tls;

/// The connection to the database, and its use.
#[derive(Clone)]
pub struct PostgresConfig {
    /// The address of the database.
    pub url: PostgresUrl,
    /// The schema that all tables are in.
    pub schema: String,
    /// The topic of the stored events. Events of any other topic are refused.
    pub topic: String,
    /// The most connections that write, and the most that read.
    pub connections: (usize, usize),
    /// The longest time of connecting.
    pub connect_timeout: Duration,
    /// The longest time of a statement.
    pub timeout: Duration,
    /// Whether the schema is brought up to date at the start.
    pub migrate: bool,
    /// The time for which an event stays after it was stored; `None` is for ever.
    pub retention: Option<Duration>,
}

/// A `postgres://` URL, with TLS as its `sslmode` and `sslrootcert` say. The file that it stands in and the authorities
/// are read again when they change; connections that are made from then on use the new ones.
#[derive(Clone)]
pub struct PostgresUrl(Arc<FromFiles<Endpoint>>);

/// One state of the URL.
pub(super) struct Endpoint {
    pub(super) connection: tokio_postgres::Config,
    pub(super) tls: Tls,
    /// The file of the authorities.
    authorities: Option<PathBuf>,
}

impl PostgresUrl {
    /// Reads a URL, as libpq does.
    ///
    /// # Errors
    ///
    /// The URL cannot be used. The error says why, without any part of it that could be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_owned();
        Self::renewed(None, move || Endpoint::parse(&text))
    }

    /// Reads a URL from the first line of a file.
    ///
    /// # Errors
    ///
    /// As [`PostgresUrl::parse`], or the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let file = path.to_owned();
        Self::renewed(Some(path), move || {
            let line = first_line(&file).map_err(|error| format!("cannot be read: {error}"))?;
            Endpoint::parse(&line)
        })
    }

    fn renewed(
        file: Option<&Path>,
        endpoint: impl Fn() -> Result<Endpoint, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let paths = file.map(Path::to_owned).into_iter().chain(endpoint()?.authorities).collect();
        Ok(Self(Arc::new(FromFiles::new(paths, endpoint, |fault| fault)?)))
    }

    /// The URL as it is now.
    pub(super) fn current(&self) -> Arc<Endpoint> {
        self.0.current()
    }
}

impl Endpoint {
    /// Parses a URL. `sslmode` is `disable`, `prefer` (the default: TLS if the server has it), `require` (TLS with any
    /// server) or `verify-full` (the certificate must name the host and come from an authority in `sslrootcert`, or from one
    /// of the system's).
    fn parse(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("begins with neither postgres:// nor postgresql://".to_owned());
        }
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut authorities, mut others) = (None, None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => authorities = Some(decoded(value)?),
                _ => others.push(parameter),
            }
        }
        let others = others.join("&");
        // The driver's errors quote no value.
        let mut connection: tokio_postgres::Config =
            format!("{address}?{others}").parse().map_err(|error: tokio_postgres::Error| {
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
            })?;
        if connection.get_hosts().is_empty() {
            return Err("names no host".to_owned());
        }
        let verifies = mode == Some("verify-full");
        connection.ssl_mode(match mode {
            None | Some("prefer") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require" | "verify-full") => SslMode::Require,
            Some(_) => {
                return Err("has another sslmode than disable, prefer, require or verify-full".to_owned());
            }
        });
        if authorities.is_some() && !verifies {
            return Err("has an sslrootcert, which sslmode=verify-full alone looks at".to_owned());
        }
        let tls = if verifies {
            Tls::verified(authorities.as_deref())
                .map_err(|error| format!("has an sslrootcert that {error}"))?
        } else {
            Tls::unverified().map_err(|error| error.to_string())?
        };
        Ok(Self { connection, tls, authorities })
    }
}

/// A path, whose bytes a URL may have as `%2F`.
fn decoded(value: &str) -> Result<PathBuf, String> {
    let path = percent_encoding::percent_decode_str(value).decode_utf8();
    path.map(|path| PathBuf::from(&*path)).map_err(|_| "has an sslrootcert that is not UTF-8".to_owned())
}

/// A URL has a password.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresUrl(…)")
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartialEq for PostgresConfig {
    fn eq(&self, other: &Self) -> bool {
        self.url.current().connection == other.url.current().connection
            && (&self.schema, &self.topic, self.connections)
                == (&other.schema, &other.topic, other.connections)
            && (self.connect_timeout, self.timeout, self.migrate, self.retention)
                == (other.connect_timeout, other.timeout, other.migrate, other.retention)
    }
}

impl Eq for PostgresConfig {}
