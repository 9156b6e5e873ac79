//! The byte stream of a connection: TCP, or TLS over it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::security::Security;

/// An open stream to a broker.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects to one socket address of `host:port`, with a TLS handshake if that is configured.
    pub(super) async fn open(address: &str, socket: SocketAddr, security: &Security) -> io::Result<Self> {
        let stream = TcpStream::connect(socket).await?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &security.tls {
            return Ok(Self::Tls(Box::new(tls.wrap(address, stream).await?)));
        }
        #[cfg(not(feature = "tls"))]
        let _ = (address, security);
        Ok(Self::Plain(stream))
    }
}

/// Calls the function of the stream inside.
macro_rules! delegate {
    ($stream:expr, $function:ident, $($argument:expr),+) => {
        match $stream.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).$function($($argument),+),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).$function($($argument),+),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown, cx)
    }
}
