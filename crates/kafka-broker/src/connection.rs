//! Connections: a frame in, a frame out, in order. As in Kafka the next request is read when the one before
//! is answered, so a client may send many at once.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    faults::Fault,
    handlers::{self, Call},
    state::Shared,
};

/// The largest request (`socket.request.max.bytes` in Kafka).
const MAX_FRAME: usize = 100 * 1024 * 1024;
/// The first allocation for a frame, in bytes.
const FIRST_ROOM: usize = 64 * 1024;
/// The pause after a failed accept: the process may be out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!("the embedded broker cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match stream.set_nodelay(true) {
            Ok(()) => spawn(stream, peer, &shared, &stop),
            Err(error) => log::debug!("the embedded broker lost {peer}: {error}"),
        }
    }
}

/// Serves a connection until it ends or is to stop.
pub(super) fn spawn(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) {
    let (shared, stop) = (Arc::clone(shared), stop.clone());
    tokio::spawn(async move {
        // The end of one connection does not matter to the others.
        if let Some(Err(error)) = stop.run_until_cancelled(serve(stream, peer, &shared, &stop)).await {
            log::debug!("the embedded broker lost {peer}: {error}");
        }
    });
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    shared: &Shared,
    stop: &CancellationToken,
) -> io::Result<()> {
    while let Ok(request) = timeout(shared.options.idle_timeout, read_frame(&mut stream)).await {
        let request = request?;
        // A request that comes after a stop has no response.
        if stop.is_cancelled() {
            return Ok(());
        }
        let (api, version) = asked_by(&request)?;
        let fault = shared.faults.meet(api);
        let mut call = Call { request, peer, shared, refuse_with: None, throttle: Duration::ZERO };
        match fault {
            Some(Fault::Drop) => return Ok(()),
            Some(Fault::DropBelow(least)) if version < least => return Ok(()),
            Some(Fault::Stall) => return until_closed(&mut stream).await,
            Some(Fault::Refuse(error)) => call.refuse_with = Some(error),
            Some(Fault::Delay(delay)) => sleep(delay).await,
            Some(Fault::Throttle(throttle)) => call.throttle = throttle,
            Some(Fault::DropBelow(_) | Fault::LoseAnswer) | None => {}
        }
        let answer = handlers::dispatch(api, call).await?;
        match (answer, fault) {
            (_, Some(Fault::LoseAnswer)) => return Ok(()),
            (Some(answer), _) => stream.write_all(&answer).await?,
            (None, _) => {}
        }
    }
    Ok(())
}

/// A request's API and version.
fn asked_by(request: &[u8]) -> io::Result<(ApiKey, i16)> {
    let mut request = request;
    let key = request.try_get_i16().map_err(|_| io::ErrorKind::InvalidData)?;
    let api = ApiKey::try_from(key).map_err(|()| io::ErrorKind::InvalidData)?;
    Ok((api, request.try_get_i16().map_err(|_| io::ErrorKind::InvalidData)?))
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let length = usize::try_from(stream.read_i32().await?).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_ROOM));
    while frame.len() < length {
        let wanted = (length - frame.len()) as u64;
        if (&mut *stream).take(wanted).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// Never answers, and ends when the client closes the connection.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut unheard = [0; 4096];
    while stream.read(&mut unheard).await? > 0 {}
    Ok(())
}
