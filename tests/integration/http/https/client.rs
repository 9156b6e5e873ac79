//! A client of HTTPS, whichever version of either.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    client::conn::{http1, http2},
    header::HeaderName,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version,
    },
};

use crate::support::{Authority, Identity};

pub(super) const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// How a client speaks TLS: whom it trusts, who it says it is, and what it speaks over it.
pub(super) fn tls(
    authority: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authorities);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub(super) async fn connect(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    shake_hands(stream, tls).await
}

pub(super) async fn shake_hands(
    stream: TcpStream,
    tls: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    // Else the system waits for time that does not pass.
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::clone(tls)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    async fn of(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        Ok(Self { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

/// A connection of HTTP/2; clones of its sender ask at the same time.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    pub(super) running: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    pub(super) async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> Self {
        Self::with(address, tls, |_| {}).await
    }

    pub(super) async fn with(
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        set: impl FnOnce(&mut http2::Builder<TokioExecutor>),
    ) -> Self {
        let stream = connect(address, tls).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        set(&mut builder);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender, running: tokio::spawn(connection) }
    }

    pub(super) async fn send(&self, path: &str, body: &'static str) -> hyper::Result<Response<Incoming>> {
        self.sender.clone().send_request(request(path, body)).await
    }

    pub(super) async fn ask(&self, path: &str, body: &'static str) -> hyper::Result<Answer> {
        Answer::of(self.send(path, body).await?).await
    }

    /// The status of a request with that header.
    pub(super) async fn status(&self, path: &str, body: &'static str, (name, value): (&str, &str)) -> u16 {
        let mut request = request(path, body);
        request.headers_mut().insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        self.sender.clone().send_request(request).await.unwrap().status().as_u16()
    }
}

/// One GET by HTTP/1.1, on a connection of its own.
pub(super) async fn get_by_http1(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    path: &str,
) -> std::io::Result<Answer> {
    let stream = connect(address, tls).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
    let response = sender.send_request(request).await.map_err(std::io::Error::other)?;
    Answer::of(response).await.map_err(std::io::Error::other)
}
