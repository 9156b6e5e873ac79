//! TLS under HTTP, by rustls on ring: the server's certificate, the trusted clients, and the protocols (ALPN).

use std::{fmt, io, net::IpAddr, sync::Arc};

use highwater_net::{files::FromFiles, pem, unverified};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        Error as TlsError, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
        sign::{CertifiedKey, SingleCertAndKey},
    },
};

use super::{HttpsFault, HttpsFiles};

/// HTTP/2 by its name in ALPN (RFC 9113, section 3.1).
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// TLS for a server. The files are read again when they change; open connections stay as they are.
#[derive(Clone)]
pub struct Https {
    files: HttpsFiles,
    config: Arc<FromFiles<ServerConfig>>,
}

impl Https {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// All faults of the files.
    pub fn read(files: HttpsFiles) -> Result<Self, Vec<HttpsFault>> {
        let HttpsFiles { certificate, key, client_ca } = files.clone();
        let paths = [certificate, key].into_iter().chain(client_ca).collect();
        let make = {
            let files = files.clone();
            move || configuration(&files)
        };
        let in_words = |faults: Vec<HttpsFault>| {
            let clauses: Vec<_> = faults.iter().map(ToString::to_string).collect();
            clauses.join("; ")
        };
        Ok(Self { files, config: Arc::new(FromFiles::new(paths, make, in_words)?) })
    }

    /// The reason why clients do not trust the certificate at this time, if its validity is the reason.
    pub fn out_of_date(&self) -> Option<String> {
        pem::out_of_date(pem::certificates(&self.files.certificate).ok()?.first()?)
    }

    /// Whether clients must show a certificate.
    pub fn knows_its_clients(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// The acceptor of connections, by the files as they are now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.current())
    }

    /// Does a handshake with this machine's own server. The client trusts its address, not its certificate, which names
    /// another host.
    pub(super) async fn wrap(&self, address: IpAddr, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = unverified::client_config().map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(address.into(), stream).await
    }
}

fn configuration(files: &HttpsFiles) -> Result<ServerConfig, Vec<HttpsFault>> {
    let certificate = pem::certificates(&files.certificate).map_err(HttpsFault::Certificate);
    let key = pem::private_key(&files.key).map_err(HttpsFault::Key);
    let identity = match (certificate, key) {
        (Ok(certificate), Ok(key)) => certified(certificate, key).map_err(|fault| vec![fault]),
        (certificate, key) => Err([certificate.err(), key.err()].into_iter().flatten().collect()),
    };
    let clients = files.client_ca.as_ref().map(|ca| pem::authorities(ca).map_err(HttpsFault::ClientCa));
    let (identity, clients) = match (identity, clients.transpose()) {
        (Ok(identity), Ok(clients)) => (identity, clients),
        (identity, clients) => {
            return Err(identity.err().into_iter().flatten().chain(clients.err()).collect());
        }
    };
    if let Some(fault) = identity.end_entity_cert().ok().and_then(|certificate| pem::out_of_date(certificate))
    {
        log::warn!("the certificate of HTTPS {fault}");
    }
    let builder = ServerConfig::builder_with_provider(pem::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![HttpsFault::Certificate(error.to_string())])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            // A client without a certificate learns the reason, and the health of the service, over HTTP: probes have no
            // certificate.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), pem::provider())
                .allow_unauthenticated()
                .build()
                .map_err(|error| vec![HttpsFault::ClientCa(format!("cannot be used: {error}"))])?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // Clients keep the sessions.
    config.ticketer = ring::Ticketer::new().map_err(|error| vec![HttpsFault::Key(error.to_string())])?;
    Ok(config)
}

/// The certificate chain with its key.
fn certified(
    certificate: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, HttpsFault> {
    CertifiedKey::from_der(certificate, key, &ring::default_provider()).map_err(|error| match error {
        TlsError::InconsistentKeys(_) => HttpsFault::Key("is another certificate's".to_owned()),
        TlsError::General(_) => HttpsFault::Key(format!("cannot be used: {error}")),
        error => HttpsFault::Certificate(format!("cannot be used: {error}")),
    })
}

/// Shows no keys or certificates.
impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Equal when made of the same files.
impl PartialEq for Https {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Eq for Https {}
