//! The ends of connections, as the library and the brokers have them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use highwater_kafka::{ByteStream, Connector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{End, HostId, Item, Link, LinkId, Network, host_of};

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct SimStream {
    network: Network,
    id: LinkId,
    /// 0 for the client, 1 for the server.
    end: usize,
}

impl SimStream {
    /// The end of the one who has accepted.
    pub(super) fn of_server(network: Network, id: LinkId) -> Self {
        Self { network, id, end: 1 }
    }

    /// Waits until the server has accepted.
    fn poll_accepted(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let Some(link) = state.links.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let half = &mut link.halves[1];
        match half.end {
            Some(End::Refused) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(End::Eof) | None if link.accepted => Poll::Ready(Ok(())),
            Some(End::Eof) | None => {
                half.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let Some(link) = state.links.get_mut(&self.id) else { return Poll::Ready(Ok(())) };
        let half = &mut link.halves[1 - self.end];
        if !half.arrived.is_empty() {
            let taken = half.arrived.len().min(buffer.remaining());
            buffer.put_slice(&half.arrived[..taken]);
            half.arrived.advance(taken);
            return Poll::Ready(Ok(()));
        }
        match half.end {
            Some(End::Eof) => Poll::Ready(Ok(())),
            Some(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                half.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.network.state();
        let end = state.links.get(&self.id).and_then(|link| link.halves[1 - self.end].end);
        if end == Some(End::Reset) || !state.links.contains_key(&self.id) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.send(self.id, self.end, Item::Data(Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.state().send(self.id, self.end, Item::Fin);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let Some(link) = state.links.get_mut(&self.id) else { return };
        link.open[self.end] = false;
        let host = link.hosts[self.end];
        let is_reset = link.halves[1 - self.end].end == Some(End::Reset);
        // A host without power says nothing.
        if !is_reset && !state.dark.contains(&host) {
            state.send(self.id, self.end, Item::Fin);
        }
        state.rest(self.id, self.end);
    }
}

/// The connector of a host.
#[derive(Debug)]
pub(super) struct SimConnector {
    network: Network,
    host: HostId,
}

impl SimConnector {
    pub(super) fn new(network: Network, host: HostId) -> Self {
        Self { network, host }
    }
}

#[async_trait]
impl Connector for SimConnector {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn ByteStream>> {
        let server = host_of(address).ok_or(io::ErrorKind::NotFound)?;
        let stream = {
            let mut state = self.network.state();
            let id = state.next_link;
            state.next_link += 1;
            let (halves, accepted) = Default::default();
            let hosts = [self.host, server];
            state.links.insert(id, Link { hosts, halves, accepted, open: [true, false] });
            state.send(id, 0, Item::Syn);
            SimStream { network: self.network.clone(), id, end: 0 }
        };
        std::future::poll_fn(|context| stream.poll_accepted(context)).await?;
        Ok(Box::new(stream))
    }
}
