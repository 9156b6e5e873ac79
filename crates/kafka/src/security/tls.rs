//! TLS by rustls on ring: whom to trust, and the client's own certificate. PEM files, as librdkafka takes them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, SecondsFormat};
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

/// What TLS connections are made with; read once.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

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
        let mut faults = Vec::new();
        let mut noted = |fault| faults.push(fault);
        let authorities = match &files.ca {
            Some(ca) => authorities(ca),
            None => authorities_of_the_system(),
        };
        let authorities = authorities.map_err(TlsFault::Ca).map_err(&mut noted).ok();
        let identity = files.identity.as_ref().map(|(certificate, key)| {
            let certificate =
                certificates(certificate).map_err(TlsFault::Certificate).map_err(&mut noted).ok();
            let key = private_key(key).map_err(TlsFault::Key).map_err(&mut noted).ok();
            certificate.zip(key)
        });
        let Some(authorities) = authorities else { return Err(faults) };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![TlsFault::Ca(error.to_string())])?
            .with_root_certificates(authorities);
        match identity {
            None => Ok(Self(Arc::new(builder.with_no_client_auth()))),
            Some(None) => Err(faults),
            Some(Some((certificate, key))) => match builder.with_client_auth_cert(certificate, key) {
                Ok(config) => Ok(Self(Arc::new(config))),
                Err(TlsError::InconsistentKeys(_)) => {
                    Err(vec![TlsFault::Key("is another certificate's".into())])
                }
                Err(error) => Err(vec![TlsFault::Certificate(format!("cannot be used: {error}"))]),
            },
        }
    }

    /// As rskafka takes it.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// Speaks TLS from here on, with the server of that `host:port`, whose certificate must name the host.
    ///
    /// # Errors
    ///
    /// The handshake fails.
    pub async fn wrap(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
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
            // In words that stay the same, as rustls' do not: each look would be news.
            TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                format!("the certificate is expired since {}, by this machine's clock", moment(*not_after))
            }
            TlsError::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
                format!(
                    "the certificate is not valid before {}, by this machine's clock",
                    moment(*not_before)
                )
            }
            error => error.to_string(),
        })
    }
}

/// A moment as a certificate has it.
fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let moment = DateTime::from_timestamp(seconds, 0);
    moment.map_or_else(|| seconds.to_string(), |moment| moment.to_rfc3339_opts(SecondsFormat::Secs, true))
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

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        authorities.add(certificate).map_err(|error| format!("holds what is no authority's: {error}"))?;
    }
    Ok(authorities)
}

/// Those of the system that can be read; one that cannot is not trusted, and the others are.
fn authorities_of_the_system() -> Result<RootCertStore, String> {
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

/// Without what the file holds: it may be a key.
fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        _ => "is damaged PEM".to_owned(),
    }
}
