//! One connection, from its first byte to its last.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch, time::Instant};
use tower_service::Service;

use super::{
    Config, Problem, Traffic,
    pace::{Pace, Phase},
    serve::Stop,
    service::Guarded,
    socket::Socket,
};

/// The most that is buffered of a request's head, and of an answer that the peer does not take.
const BUFFER: usize = 64 * 1024;
/// How long a client may take to hear that it is refused.
const FAREWELL: Duration = Duration::from_secs(2);
/// When to look again at a connection that has no deadline just now; it is woken when it gets one.
const FAR: Duration = Duration::from_secs(3600);

/// Answers a connection's requests until either side has enough, or it is to stop.
pub(super) async fn serve<S>(
    stream: TcpStream,
    tree: S,
    config: &Config,
    traffic: Arc<Traffic>,
    mut stop: watch::Receiver<Stop>,
) where
    S: Service<Request<Incoming>, Response = warp::reply::Response, Error = Infallible>,
{
    let pace = Arc::new(Pace::new(config));
    let peer = stream.peer_addr().ok().map(|address| address.ip());
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&pace)));
    let service = Guarded::new(tree, peer, Arc::clone(&pace), traffic, config.cors.clone());
    // A client may end its sending side and still wait for the answer, as `nc` does; one that is gone for
    // good is found out by the write. And what was begun for it is finished, and logged, all the same.
    // Head and body in one buffer: for answers as short as ours are, `writev` costs more than the copy.
    let mut connection = http1::Builder::new()
        .half_close(true)
        .writev(false)
        .max_buf_size(BUFFER)
        .serve_connection(socket, service);

    let mut over = stop.clone();
    let mut stopping = pin!(async { drop(stop.wait_for(|stop| *stop >= Stop::WhenFinished).await) });
    let mut cutting = pin!(async { drop(over.wait_for(|stop| *stop == Stop::AtOnce).await) });
    let mut stopped = false;
    let mut alarm = pin!(tokio::time::sleep_until(pace.due().unwrap_or_else(Instant::now)));
    let cut = std::future::poll_fn(|context| {
        loop {
            if let Poll::Ready(end) = Pin::new(&mut connection).poll(context) {
                if let Err(error) = end {
                    log::debug!("a connection broke: {error}");
                }
                return Poll::Ready(None);
            }
            if !stopped && stopping.as_mut().poll(context).is_ready() {
                stopped = true;
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            if stopped && cutting.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            // Later deadlines leave the alarm as it is; it then rings once in vain.
            let due = pace.due();
            if let Some(due) = due
                && due < alarm.deadline()
            {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match pace.overdue() {
                // Polled again, the service gives the handler up and answers in its place.
                Some(Phase::Overdue) => {}
                Some(phase) => return Poll::Ready(Some(phase)),
                None => alarm.as_mut().reset(due.unwrap_or_else(|| Instant::now() + FAR)),
            }
        }
    })
    .await;

    if cut == Some(Phase::Head) {
        let detail = format!("the request's head was not complete after {:?}", config.header_timeout);
        let problem = Problem::new(hyper::StatusCode::REQUEST_TIMEOUT, detail);
        farewell(connection.into_parts().io.into_inner(), &problem).await;
    }
}

/// Tells a client that no connection is free, instead of leaving it to wonder.
pub(super) async fn refuse(stream: TcpStream, config: &Config) {
    farewell(Socket::new(stream, Arc::new(Pace::new(config))), &too_many()).await;
}

/// 503: no connection is free.
pub(super) fn too_many() -> Problem {
    Problem::unavailable("there are too many connections", 1)
}

async fn farewell(mut socket: Socket, problem: &Problem) {
    let answer = problem.http1();
    // Whoever does not listen is not waited for.
    let _ = tokio::time::timeout(FAREWELL, async {
        socket.write_all(&answer).await?;
        socket.shutdown().await
    })
    .await;
}
