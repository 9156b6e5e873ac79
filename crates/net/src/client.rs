//! Sends one request to an `http` or `https` URL, on a connection of its own, HTTP/1.1. Redirects are not followed.

use std::{
    convert::Infallible,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, Uri,
    body::{Body, Frame, Incoming},
    client::conn::http1,
    header::{HOST, HeaderName, HeaderValue},
    http::uri::{Authority, PathAndQuery},
};
pub use hyper::{Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
#[cfg(feature = "tls")]
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// The longest body of an answer that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// An absolute URL without user and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    is_https: bool,
    authority: Authority,
    path: PathAndQuery,
}

impl Url {
    /// Parses the text; `None` for a text that is no `http` or `https` URL.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.parse::<Uri>().ok()?.into_parts();
        let is_https = match parts.scheme?.as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Some(Self { is_https, authority, path })
    }

    /// The URL of this path, with its query, below this one; `None` for a text that is no path.
    pub fn below(&self, path: &str) -> Option<Self> {
        let path = format!("{}{path}", self.path.path().trim_end_matches('/'));
        Some(Self { path: path.parse().ok()?, ..self.clone() })
    }

    /// Whether requests to it use TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_https { 443 } else { 80 })
    }

    /// The host, an IPv6 address without its brackets.
    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }
}

/// The query is left out, since it may contain a secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The wait that `Retry-After` asks for; a date is ignored.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, of at most 1 MiB.
    pub body: Bytes,
}

/// The trusted certificates of an `https` URL's host; a build without TLS has none.
#[derive(Clone)]
pub struct Trust {
    #[cfg(feature = "tls")]
    config: std::sync::Arc<ClientConfig>,
}

impl Trust {
    /// The trust of this configuration of TLS.
    #[cfg(feature = "tls")]
    pub fn of(config: std::sync::Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

/// Equal when made of the same configuration.
impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(feature = "tls")]
        let is_same = std::sync::Arc::ptr_eq(&self.config, &other.config);
        #[cfg(not(feature = "tls"))]
        let is_same = std::mem::size_of_val(self) == std::mem::size_of_val(other);
        is_same
    }
}

impl Eq for Trust {}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(…)")
    }
}

/// Sends a request, and waits for the whole answer, at most for this time.
///
/// # Errors
///
/// No answer comes in time, the answer is no HTTP or too long, the host is not trusted, or the URL is `https` and there is
/// no `trust`.
pub async fn send(
    method: Method,
    url: &Url,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
    trust: Option<&Trust>,
    patience: Duration,
) -> io::Result<Answer> {
    let asking = async {
        let request = request(method, url, headers, Full::new(body))?;
        exchange(connect(url, trust).await?, request).await
    };
    timeout(patience, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn request<B>(
    method: Method,
    url: &Url,
    headers: &[(HeaderName, HeaderValue)],
    body: B,
) -> io::Result<Request<B>> {
    let mut request = Request::builder().method(method).uri(Uri::from(url.path.clone()));
    let host = HeaderValue::from_str(url.authority.as_str()).map_err(io::Error::other)?;
    if let Some(all) = request.headers_mut() {
        all.insert(HOST, host);
        all.extend(headers.iter().cloned());
    }
    request.body(body).map_err(io::Error::other)
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

async fn connect(url: &Url, trust: Option<&Trust>) -> io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect((url.host(), url.port())).await?;
    stream.set_nodelay(true)?;
    if !url.is_https {
        return Ok(Box::new(stream));
    }
    #[cfg(feature = "tls")]
    if let Some(trust) = trust {
        let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(std::sync::Arc::clone(&trust.config));
        return Ok(Box::new(connector.connect(name, stream).await?));
    }
    #[cfg(not(feature = "tls"))]
    let _ = trust;
    Err(io::Error::other("there is no TLS for it"))
}

/// The pieces of a request's body, which are sent as they come.
pub type Pieces = mpsc::Receiver<Bytes>;

struct PiecesBody(Option<Pieces>);

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(pieces) = &mut self.0 else { return Poll::Ready(None) };
        pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// An answer whose body is read as it comes.
#[derive(Debug)]
pub struct Streamed {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    body: Incoming,
}

impl Streamed {
    /// The next piece of the body; `None` after the last. Cancel safe.
    ///
    /// # Errors
    ///
    /// The connection broke before the end.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Sends a request, with a body in pieces if it has one, and waits for the head of the answer, at most for this time. Both
/// bodies go on at the same time. Dropping the answer ends the connection.
///
/// # Errors
///
/// As [`send`].
pub async fn stream(
    method: Method,
    url: &Url,
    headers: &[(HeaderName, HeaderValue)],
    body: Option<Pieces>,
    trust: Option<&Trust>,
    patience: Duration,
) -> io::Result<Streamed> {
    let asking = async {
        let request = request(method, url, headers, PiecesBody(body))?;
        let io = TokioIo::new(connect(url, trust).await?);
        let (mut sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        // This task moves the bytes, and ends with the answer.
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        Ok(Streamed { status: head.status, headers: head.headers, body })
    };
    timeout(patience, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> io::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answering = async {
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    // The connection moves the bytes: it is driven until the answer is there, or until it breaks.
    let driving = async {
        let ended = connection.await;
        ended.map_err(io::Error::other)
    };
    let (mut answering, mut driving) = (std::pin::pin!(answering), std::pin::pin!(driving));
    tokio::select! {
        biased;
        answer = &mut answering => answer,
        ended = &mut driving => {
            ended?;
            answering.await
        }
    }
}
