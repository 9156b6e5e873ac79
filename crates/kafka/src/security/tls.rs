//! TLS by rustls on ring. Certificates and keys are PEM files, as for librdkafka.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, SecondsFormat};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, Error as TlsError, InvalidMessage, RootCertStore,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer, ServerName, UnixTime,
            pem::{self, PemObject as _},
        },
    },
};

/// Certificates and keys, which were read once.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// The files of [`Tls`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificates of the authorities to trust (`ssl.ca.location` in librdkafka). `None` trusts those of the system.
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
        let mut errors = Vec::new();
        let mut noted = |error| errors.push(error);
        let authorities = match &files.ca {
            Some(ca) => authorities(ca),
            None => system_authorities(),
        };
        let authorities = authorities.map_err(TlsFileError::Ca).map_err(&mut noted).ok();
        let identity = files.identity.as_ref().map(|(certificate, key)| {
            let certificate =
                certificates(certificate).map_err(TlsFileError::Certificate).map_err(&mut noted).ok();
            let key = private_key(key).map_err(TlsFileError::Key).map_err(&mut noted).ok();
            certificate.zip(key)
        });
        let Some(authorities) = authorities else { return Err(errors) };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![TlsFileError::Ca(error.to_string())])?
            .with_root_certificates(authorities);
        match identity {
            None => Ok(Self(Arc::new(builder.with_no_client_auth()))),
            Some(None) => Err(errors),
            Some(Some((certificate, key))) => match builder.with_client_auth_cert(certificate, key) {
                Ok(config) => Ok(Self(Arc::new(config))),
                Err(TlsError::InconsistentKeys(_)) => {
                    Err(vec![TlsFileError::Key("is another certificate's".into())])
                }
                Err(error) => Err(vec![TlsFileError::Certificate(format!("cannot be used: {error}"))]),
            },
        }
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// The TLS handshake with the server `host:port`. The certificate must name the host.
    ///
    /// # Errors
    ///
    /// The handshake fails.
    pub async fn wrap(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
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
            // rustls' own text has the time in it, and would be logged as news each time.
            TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                format!("the certificate is expired since {}, by this machine's clock", timestamp(*not_after))
            }
            TlsError::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
                format!(
                    "the certificate is not valid before {}, by this machine's clock",
                    timestamp(*not_before)
                )
            }
            error => error.to_string(),
        })
    }
}

/// A time of a certificate, in RFC 3339.
fn timestamp(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let timestamp = DateTime::from_timestamp(seconds, 0);
    timestamp
        .map_or_else(|| seconds.to_string(), |timestamp| timestamp.to_rfc3339_opts(SecondsFormat::Secs, true))
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

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        authorities.add(certificate).map_err(|error| format!("holds what is no authority's: {error}"))?;
    }
    Ok(authorities)
}

/// The system's authorities, without those that cannot be parsed.
fn system_authorities() -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if authorities.is_empty() {
        return Err("must be set: this system has no certificates of authorities".to_owned());
    }
    Ok(authorities)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => "holds no private key in PEM, or an encrypted one".to_owned(),
        error => unreadable(error),
    })
}

/// Says nothing of the content: it may be a key.
fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        _ => "is damaged PEM".to_owned(),
    }
}
