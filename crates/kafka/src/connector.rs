//! Makes the streams to brokers: over TCP, unless the application has another way.

use std::{fmt::Debug, io, ptr};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes to a broker. Every type that can be one is one.
pub trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin + 'static> ByteStream for S {}

/// Opens the streams to brokers, in place of TCP: through a proxy or a tunnel, or to a broker in the same process. TLS and
/// SASL of [`Security`](crate::security::Security) come on top. The timeout is [`ClusterConfig::connect_timeout`].
///
/// [`ClusterConfig::connect_timeout`]: crate::ClusterConfig::connect_timeout
#[async_trait]
pub trait Connector: Debug + Send + Sync + 'static {
    /// Connects to the broker at `host:port`: a bootstrap address, or one that the cluster advertises. The name is not
    /// resolved yet. Several calls run at the same time. At the timeout, which a TLS handshake shares, the future is dropped.
    ///
    /// # Errors
    ///
    /// The broker cannot be reached. While every broker fails with [`io::ErrorKind::ConnectionRefused`], the cluster counts
    /// as unreachable, and records are refused at once.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn ByteStream>>;
}

/// A connector is equal to itself alone.
impl PartialEq for dyn Connector {
    fn eq(&self, other: &Self) -> bool {
        ptr::addr_eq(self, other)
    }
}

impl Eq for dyn Connector {}
