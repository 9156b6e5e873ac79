//! The byte stream of a connection: TCP or that of a connector, and TLS over it.

use std::{io, net::SocketAddr};

use futures::future::{BoxFuture, FutureExt};
use tokio::net::TcpStream;

use crate::{connector::ByteStream, security::Security};

/// An attempt to open a stream.
pub(super) type Opening<'a> = BoxFuture<'a, io::Result<Box<dyn ByteStream>>>;

/// Connects to one socket address.
pub(super) fn tcp(socket: SocketAddr) -> Opening<'static> {
    let opening = async move {
        let stream = TcpStream::connect(socket).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream) as _)
    };
    opening.boxed()
}

/// The stream to `host:port`, after a TLS handshake if that is configured.
pub(super) async fn secured(
    address: &str,
    opening: Opening<'_>,
    security: &Security,
) -> io::Result<Box<dyn ByteStream>> {
    let stream = opening.await?;
    #[cfg(feature = "tls")]
    if let Some(tls) = &security.tls {
        return Ok(Box::new(tls.wrap(address, stream).await?));
    }
    #[cfg(not(feature = "tls"))]
    let _ = (address, security);
    Ok(stream)
}
