//! Asking a service elsewhere for a document, over HTTP/1.1 with TLS or without: bounded in time and in size, and
//! without following where it points to.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures::future::poll_fn;
use hyper::{
    Request, StatusCode, Uri,
    body::{Body as _, Frame, Incoming, SizeHint},
    client::conn::http1,
    header::{ACCEPT, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::JSON;

#[cfg(feature = "tls")]
use highwater_kafka::security::Tls;

/// How documents are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetcher {
    /// Whom to trust; none where `https` is not asked.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// The largest document, in bytes.
    pub max_bytes: usize,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl Fetcher {
    /// The document at that address, `http` or `https`.
    ///
    /// # Errors
    ///
    /// Nobody answers in time, the answer is not 200, or it is too large.
    pub async fn get(&self, address: &Uri) -> io::Result<Bytes> {
        let fetching = self.fetch(address);
        timeout(self.timeout, fetching).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn fetch(&self, address: &Uri) -> io::Result<Bytes> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "it is no http or https URL");
        let host = address.host().ok_or_else(malformed)?;
        let is_tls = match address.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(malformed()),
        };
        let port = address.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return self.exchange(stream, address).await;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = tls.wrap(&format!("{host}:{port}"), stream).await?;
            return self.exchange(stream, address).await;
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no TLS"))
    }

    async fn exchange<S>(&self, stream: S, address: &Uri) -> io::Result<Bytes>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let path = address.path_and_query().map_or("/", |path| path.as_str());
        let authority = address.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(path)
            .header(HOST, authority)
            .header(ACCEPT, JSON)
            .header(USER_AGENT, concat!("highwater/", env!("CARGO_PKG_VERSION")))
            .body(Nothing)
            .map_err(io::Error::other)?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            if answer.status() != StatusCode::OK {
                return Err(io::Error::other(format!("the answer is {}", answer.status())));
            }
            self.read(answer.into_body()).await
        };
        // The connection is driven beside that, and ends with it.
        let driven = async {
            match connection.await {
                Ok(()) => std::future::pending().await,
                Err(error) => Err(io::Error::other(error)),
            }
        };
        tokio::select! {
            biased;
            answered = answered => answered,
            broken = driven => broken,
        }
    }

    async fn read(&self, mut body: Incoming) -> io::Result<Bytes> {
        let mut whole = Vec::new();
        while let Some(frame) = poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(io::Error::other)?;
            let piece = frame.data_ref().map_or(&b""[..], |piece| piece);
            if whole.len() + piece.len() > self.max_bytes {
                return Err(io::Error::other(format!("the answer is larger than {} bytes", self.max_bytes)));
            }
            whole.extend_from_slice(piece);
        }
        Ok(whole.into())
    }
}

/// The body of a request that has none.
struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
