//! The beginning of a connection with TLS, within the same bounds as the rest.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;

use super::{
    Https, Problem,
    budget::{BUFFER, TLS},
    connection::{FAR, Stop, farewell},
    deadlines::ConnectionDeadlines,
    https::HTTP2,
    socket::Socket,
};

/// The time for a handshake that is under way when the server stops.
const AT_STOP: Duration = Duration::from_secs(1);
/// The first byte of a client that speaks TLS (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A connection whose client has shaken hands.
pub(super) struct Secured {
    pub(super) stream: TlsStream<Socket>,
    pub(super) is_http2: bool,
    /// Whether the client has shown a certificate of an authority that is trusted.
    pub(super) is_known: bool,
}

/// Does the handshake. `None` where it takes too long, is not needed any more, or fails.
pub(super) async fn shake_hands(
    https: &Https,
    socket: Socket,
    deadlines: &Arc<ConnectionDeadlines>,
    mut stop: watch::Receiver<Stop>,
) -> Option<Secured> {
    if !deadlines.keep(TLS) {
        return None;
    }
    let stopping = async {
        drop(stop.wait_for(|stop| *stop >= Stop::WhenFinished).await);
        sleep(AT_STOP).await;
    };
    let stream = tokio::select! {
        biased;
        stream = accept(https, socket) => stream?,
        () = overdue(deadlines) => return None,
        () = stopping => return None,
    };
    deadlines.hands_shaken();
    let tls = stream.get_ref().1;
    let is_http2 = tls.alpn_protocol() == Some(HTTP2);
    let is_known = tls.peer_certificates().is_some();
    Some(Secured { stream, is_http2, is_known })
}

async fn accept(https: &Https, socket: Socket) -> Option<TlsStream<Socket>> {
    if socket.first_byte().await.ok()? != HANDSHAKE {
        // A client without TLS would not understand an alert of TLS.
        farewell(socket, &no_tls()).await;
        return None;
    }
    let accepting = https.acceptor().accept_with(socket, |tls| tls.set_buffer_limit(Some(BUFFER)));
    accepting.await.inspect_err(|error| log::debug!("a TLS handshake failed: {error}")).ok()
}

/// Waits until a phase has lasted too long.
async fn overdue(deadlines: &ConnectionDeadlines) {
    let mut alarm = pin!(sleep_until(deadlines.due().unwrap_or_else(Instant::now)));
    std::future::poll_fn(|context| {
        deadlines.watch(context.waker());
        loop {
            let due = deadlines.due().unwrap_or_else(|| Instant::now() + FAR);
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if deadlines.overdue().is_some() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    })
    .await;
}

fn no_tls() -> Problem {
    Problem::bad_request("HTTPS is spoken here, and no HTTP without TLS")
}
