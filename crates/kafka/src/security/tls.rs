//! TLS by rustls on ring: whom to trust, and the client's own certificate. PEM files, as librdkafka takes them.

use std::{fmt, io, path::PathBuf, sync::Arc};

use highwater_net::{client::Trust, files::FromFiles, pem};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, Error as TlsError, InvalidMessage, pki_types::ServerName},
};

/// What TLS connections are made with. The files are read again when they change.
#[derive(Clone)]
pub struct Tls(Arc<FromFiles<ClientConfig>>);

/// Where it is read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities to trust; `None` trusts those of the system.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, with those between it and its authority, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is wrong with one of the files, as a clause that its name goes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// With the authorities.
    Ca(String),
    /// With the client's certificate.
    Certificate(String),
    /// With its key.
    Key(String),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn read(files: &TlsFiles) -> Result<Self, Vec<TlsFault>> {
        let TlsFiles { ca, identity } = files.clone();
        let pair = identity.iter().flat_map(|(certificate, key)| [certificate.clone(), key.clone()]);
        let paths = ca.iter().cloned().chain(pair).collect();
        let files = files.clone();
        let in_words = |faults: Vec<TlsFault>| {
            let clauses: Vec<_> = faults.iter().map(ToString::to_string).collect();
            clauses.join("; ")
        };
        Ok(Self(Arc::new(FromFiles::new(paths, move || configuration(&files), in_words)?)))
    }

    /// As the files have it now.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.0.current()
    }

    /// The same trust, for a URL.
    pub fn trust(&self) -> Trust {
        Trust::of(self.config())
    }

    /// Speaks TLS from here on, with the broker of that `host:port`, whose certificate must name the host.
    pub(crate) async fn wrap(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| io::Error::other(error.to_string()))?;
        TlsConnector::from(self.config()).connect(name, stream).await.map_err(|error| match error.kind() {
            // So Kafka ends it where it takes the handshake for a request of 300 MB.
            kind @ (io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                io::Error::new(kind, "it ends the TLS handshake; its listener may not speak TLS")
            }
            _ => error,
        })
    }

    /// What TLS has against a connection, where it is TLS that ended it.
    pub(crate) fn error(error: &io::Error) -> Option<String> {
        let error = error.get_ref()?.downcast_ref::<TlsError>()?;
        Some(match error {
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "the listener does not speak it".to_owned()
            }
            objection => match pem::date_fault(objection) {
                Some(fault) => format!("the certificate {fault}"),
                None => objection.to_string(),
            },
        })
    }
}

fn configuration(files: &TlsFiles) -> Result<ClientConfig, Vec<TlsFault>> {
    let mut faults = Vec::new();
    let mut noted = |fault| faults.push(fault);
    let authorities = match &files.ca {
        Some(ca) => pem::authorities(ca),
        None => pem::authorities_of_the_system(),
    };
    let authorities = authorities.map_err(TlsFault::Ca).map_err(&mut noted).ok();
    let identity = files.identity.as_ref().map(|(certificate, key)| {
        let certificate =
            pem::certificates(certificate).map_err(TlsFault::Certificate).map_err(&mut noted).ok();
        let key = pem::private_key(key).map_err(TlsFault::Key).map_err(&mut noted).ok();
        certificate.zip(key)
    });
    let Some(authorities) = authorities else { return Err(faults) };
    let builder = ClientConfig::builder_with_provider(pem::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![TlsFault::Ca(error.to_string())])?
        .with_root_certificates(authorities);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(None) => Err(faults),
        Some(Some((certificate, key))) => match builder.with_client_auth_cert(certificate, key) {
            Ok(config) => Ok(config),
            Err(TlsError::InconsistentKeys(_)) => {
                Err(vec![TlsFault::Key("is another certificate's".into())])
            }
            Err(error) => Err(vec![TlsFault::Certificate(format!("cannot be used: {error}"))]),
        },
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca(clause) => write!(f, "the file of authorities {clause}"),
            Self::Certificate(clause) => write!(f, "the certificate {clause}"),
            Self::Key(clause) => write!(f, "the key {clause}"),
        }
    }
}

/// Nothing of keys and certificates is shown.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// Read at one time from the same files.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}
