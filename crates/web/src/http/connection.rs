//! One connection, from its first byte to its last.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{StatusCode, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::Instant,
};

use super::{
    Config, Problem,
    access::Access,
    budget::BUFFER,
    deadlines::{ConnectionDeadlines, Phase},
    limiter::ConnectionSlot,
    observer::Observer,
    request_body::UnreadBody,
    service::{ConnectionContext, GuardedService, SocketAddresses},
    socket::Socket,
    streams::Streams,
    tree::Tree,
};
use crate::auth::AccessGate;

/// The longest wait for the first byte of a client that connects just as the server stops. The byte is usually there
/// already.
const FIRST: Duration = Duration::from_millis(100);
/// The longest time for which the server tries to tell a client that it is refused.
const FAREWELL: Duration = Duration::from_secs(2);
/// The interval between two looks at a connection without a deadline; it is woken when it gets one.
pub(super) const FAR: Duration = Duration::from_secs(3600);

/// The progress of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    NotYet,
    /// Each answer closes its connection.
    Closing,
    WhenFinished,
    AtOnce,
}

/// Answers a connection's requests until one side ends it, or the server stops.
pub(super) async fn serve(
    stream: TcpStream,
    (slot, access): (&ConnectionSlot, Access),
    tree: Tree,
    config: Arc<Config>,
    (observer, gate): (Arc<Observer>, Arc<AccessGate>),
    stop: watch::Receiver<Stop>,
) {
    let deadlines = &slot.deadlines;
    let addresses = SocketAddresses::of(&stream);
    let socket = Socket::new(stream, Arc::clone(deadlines));
    let context = ConnectionContext {
        addresses,
        deadlines: Arc::clone(deadlines),
        rest: UnreadBody::default(),
        observer: Arc::clone(&observer),
        config: Arc::clone(&config),
        gate,
        access,
        stop,
        streams: None,
    };
    #[cfg(feature = "tls")]
    // The port for probes has no TLS.
    if let Some(https) = context.config.https.clone().filter(|_| !access.is_apart()) {
        return super::secured::serve(&https, socket, tree, context).await;
    }
    serve_http1(socket, tree, context).await;
}

/// Answers one request after another.
pub(super) async fn serve_http1<I>(io: I, tree: Tree, context: ConnectionContext)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let context = Arc::new(context);
    let service = GuardedService::new(tree, Arc::clone(&context));
    // A client may end its sending side and still wait for the answer, as `nc` does. The write shows whether it is gone for
    // good. Its request is finished and logged all the same.
    // Head and body share one buffer: for short answers such as ours, `writev` costs more than the copy.
    let mut connection = http1::Builder::new()
        .half_close(true)
        .writev(false)
        .max_buf_size(BUFFER)
        .max_header_size(BUFFER)
        .serve_connection(TokioIo::new(io), service);
    if let Some(problem) = drive(&mut connection, &context, None).await {
        context.observer.refused(context.addresses.peer, problem.status());
        farewell(connection.into_parts().io.into_inner(), &problem).await;
    }
}

/// A connection of either version of HTTP.
pub(super) trait Serving: Future<Output = hyper::Result<()>> + Unpin {
    /// Ends the connection after the answers to the requests that have begun.
    fn finish(&mut self);
}

impl<I> Serving for http1::Connection<TokioIo<I>, GuardedService>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    fn finish(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// Drives a connection until it ends, enforces its deadlines, and ends it at a stop. Returns the problem that its client is
/// still to get, if there is one.
pub(super) async fn drive<C: Serving>(
    connection: &mut C,
    context: &ConnectionContext,
    streams: Option<&Streams>,
) -> Option<Problem> {
    let ConnectionContext { deadlines, observer, addresses, config, access, stop, .. } = context;
    let (mut stop, mut over) = (stop.clone(), stop.clone());
    let mut stopping = pin!(async {
        drop(stop.wait_for(|stop| *stop >= Stop::WhenFinished).await);
        if deadlines.is_fresh() {
            tokio::time::sleep(FIRST).await;
        }
    });
    let mut cutting = pin!(async { drop(over.wait_for(|stop| *stop == Stop::AtOnce).await) });
    let mut stopped = false;
    // Whether the client was told that no more requests are taken, as far as the protocol allows that.
    let mut leaving = false;
    let leave = |connection: &mut C, deadlines: &ConnectionDeadlines| {
        connection.finish();
        deadlines.leave();
    };
    let mut alarm = pin!(tokio::time::sleep_until(deadlines.due().unwrap_or_else(Instant::now)));
    std::future::poll_fn(|context| {
        deadlines.watch(context.waker());
        loop {
            if let Poll::Ready(end) = Pin::new(&mut *connection).poll(context) {
                return Poll::Ready(end.err().and_then(|error| {
                    log::debug!("a connection broke: {error}");
                    if error.is_parse_version_h2() {
                        return Some(not_http1());
                    }
                    // hyper itself answers every other malformed head.
                    if error.is_parse_too_large() {
                        observer.refused(addresses.peer, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                    } else if error.is_parse() {
                        observer.refused(addresses.peer, StatusCode::BAD_REQUEST);
                    }
                    None
                }));
            }
            if !stopped && stopping.as_mut().poll(context).is_ready() {
                (stopped, leaving) = (true, true);
                leave(connection, deadlines);
                continue;
            }
            if !leaving && streams.is_some_and(Streams::is_leaving) {
                leaving = true;
                leave(connection, deadlines);
                continue;
            }
            if stopped && cutting.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            // A later deadline does not change the alarm, which then rings once in vain.
            let due = deadlines.due().into_iter().chain(streams.and_then(Streams::due)).min();
            if let Some(due) = due
                && due < alarm.deadline()
            {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if streams.is_some_and(Streams::look) {
                return Poll::Ready(None);
            }
            match deadlines.overdue() {
                // At the next poll, the service drops the handler and answers in its place.
                Some(Phase::Overdue) => {}
                Some(Phase::New | Phase::Head | Phase::Idle) if streams.is_some() && !leaving => {
                    leaving = true;
                    leave(connection, deadlines);
                }
                Some(Phase::New | Phase::Head) if *access == Access::Reserve => {
                    return Poll::Ready(Some(too_many()));
                }
                Some(Phase::Head) => return Poll::Ready(Some(too_slow(config.header_timeout))),
                Some(_) => return Poll::Ready(None),
                None => alarm.as_mut().reset(due.unwrap_or_else(|| Instant::now() + FAR)),
            }
        }
    })
    .await
}

fn too_slow(header_timeout: Duration) -> Problem {
    let detail = format!("the request's head was not complete after {header_timeout:?}");
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
}

fn not_http1() -> Problem {
    Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here, and no HTTP/2")
}

/// 503: no connection is free.
pub(super) fn too_many() -> Problem {
    Problem::unavailable("there are too many connections", 1)
}

pub(super) async fn farewell(mut socket: impl AsyncWrite + Unpin, problem: &Problem) {
    let answer = problem.http1();
    // The server does not wait for a client that does not read.
    let _ = tokio::time::timeout(FAREWELL, async {
        socket.write_all(&answer).await?;
        socket.shutdown().await
    })
    .await;
}
