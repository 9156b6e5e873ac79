//! Connections: a frame in, a frame out, in order.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{
    faults::Fault,
    handlers::{self, Call},
    state::Shared,
};

/// The largest request (`socket.request.max.bytes` in Kafka).
const MAX_FRAME: usize = 100 * 1024 * 1024;

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { return };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        // What ends a connection (its client went, or sent what is no request) concerns nobody else.
        tokio::spawn(async move { stop.run_until_cancelled(serve(stream, peer, &shared)).await });
    }
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let request = read_frame(&mut stream).await?;
        let Some(answer) = answer(request, peer, shared).await? else { continue };
        stream.write_all(&answer).await?;
    }
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let length = usize::try_from(stream.read_i32().await?).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    let mut frame = BytesMut::with_capacity(length.min(1024 * 1024));
    while frame.len() < length {
        let wanted = (length - frame.len()) as u64;
        if (&mut *stream).take(wanted).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// The whole answer, its length first; `None` where the request wants none. An error breaks the connection.
async fn answer(request: Bytes, peer: SocketAddr, shared: &Shared) -> io::Result<Option<Bytes>> {
    let key = (&request[..]).try_get_i16().map_err(|_| io::ErrorKind::InvalidData)?;
    let api = ApiKey::try_from(key).map_err(|()| io::ErrorKind::InvalidData)?;
    let fault = shared.faults.meet(api);
    let refuse_with = match fault {
        Some(Fault::Drop) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Refuse(error)) => Some(error),
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            None
        }
        Some(Fault::LoseAnswer) | None => None,
    };
    let answer = handlers::dispatch(api, Call { request, peer, shared, refuse_with }).await?;
    match fault {
        Some(Fault::LoseAnswer) => Err(io::ErrorKind::ConnectionAborted.into()),
        _ => Ok(answer),
    }
}
