//! TLS by rustls on ring. Certificates and keys are PEM files, as for librdkafka.

use std::{fmt, io, path::PathBuf, sync::Arc};

use highwater_net::{client::Trust, files::FromFiles, pem};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, Error as TlsError, InvalidMessage, pki_types::ServerName},
};

/// The configuration of TLS connections. The files are read again when they change.
#[derive(Clone)]
pub struct Tls(Arc<FromFiles<ClientConfig>>);

/// The files of [`Tls`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificates of the authorities to trust (`ssl.ca.location` in librdkafka). `None` trusts those of the
    /// system.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain and its key (`ssl.certificate.location`, `ssl.key.location`).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A file that cannot be used. The reason is a clause that the file or its setting is the subject of. All variants are
/// here to stay: an application names its own settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsFileError {
    /// The file of authorities.
    #[error("the file of authorities {0}")]
    Ca(String),
    /// The client's certificate.
    #[error("the client's certificate {0}")]
    Certificate(String),
    /// The client's key.
    #[error("the client's key {0}")]
    Key(String),
}

impl TlsFiles {
    /// Sets [`TlsFiles::ca`].
    #[must_use]
    pub fn with_ca(self, ca: Option<PathBuf>) -> Self {
        Self { ca, ..self }
    }

    /// Sets [`TlsFiles::identity`]: the certificate's file and the key's.
    #[must_use]
    pub fn with_identity(self, identity: Option<(PathBuf, PathBuf)>) -> Self {
        Self { identity, ..self }
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used.
    pub fn read(files: &TlsFiles) -> Result<Self, Vec<TlsFileError>> {
        let TlsFiles { ca, identity } = files.clone();
        let pair = identity.iter().flat_map(|(certificate, key)| [certificate.clone(), key.clone()]);
        let paths = ca.iter().cloned().chain(pair).collect();
        let files = files.clone();
        let in_words = |errors: Vec<TlsFileError>| {
            let clauses: Vec<_> = errors.iter().map(ToString::to_string).collect();
            clauses.join("; ")
        };
        Ok(Self(Arc::new(FromFiles::new(paths, move || configuration(&files), in_words)?)))
    }

    /// The configuration by the files as they are now.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.0.current()
    }

    /// The same trust, for a URL.
    pub fn trust(&self) -> Trust {
        Trust::of(self.client_config())
    }

    /// The TLS handshake with the server `host:port`. The certificate must name the host.
    ///
    /// # Errors
    ///
    /// The handshake fails.
    pub async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        address: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| io::Error::other(error.to_string()))?;
        TlsConnector::from(self.client_config()).connect(name, stream).await.map_err(|error| {
            match error.kind() {
                // A plaintext listener takes the handshake for a request of 300 MB and closes the connection.
                kind @ (io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                    io::Error::new(kind, "it ends the TLS handshake; its listener may not speak TLS")
                }
                _ => error,
            }
        })
    }

    /// The TLS error behind a failed connection, if it is one.
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

fn configuration(files: &TlsFiles) -> Result<ClientConfig, Vec<TlsFileError>> {
    let mut errors = Vec::new();
    let mut noted = |error| errors.push(error);
    let authorities = match &files.ca {
        Some(ca) => pem::authorities(ca),
        None => pem::authorities_of_the_system(),
    };
    let authorities = authorities.map_err(TlsFileError::Ca).map_err(&mut noted).ok();
    let identity = files.identity.as_ref().map(|(certificate, key)| {
        let certificate =
            pem::certificates(certificate).map_err(TlsFileError::Certificate).map_err(&mut noted).ok();
        let key = pem::private_key(key).map_err(TlsFileError::Key).map_err(&mut noted).ok();
        certificate.zip(key)
    });
    let Some(authorities) = authorities else { return Err(errors) };
    let builder = ClientConfig::builder_with_provider(pem::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![TlsFileError::Ca(error.to_string())])?
        .with_root_certificates(authorities);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(None) => Err(errors),
        Some(Some((certificate, key))) => match builder.with_client_auth_cert(certificate, key) {
            Ok(config) => Ok(config),
            Err(TlsError::InconsistentKeys(_)) => {
                Err(vec![TlsFileError::Key("is another certificate's".into())])
            }
            Err(error) => Err(vec![TlsFileError::Certificate(format!("cannot be used: {error}"))]),
        },
    }
}

/// Shows no key and no certificate.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// Equal if both are clones of one [`Tls::read`].
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}
