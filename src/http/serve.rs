//! The accept loop.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};
use warp::{Filter, Reply};

use super::{Config, Traffic, connection, observer::Observer};

/// How many clients are told at one time that no connection is free; more are dropped unheard.
const REFUSALS: usize = 64;
/// How long to wait when no connection can be accepted, for want of file descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a condition must have been absent to be over.
const CALM: Duration = Duration::from_secs(10);

/// Answers requests until `shutdown` resolves; then accepts nothing more, finishes what was begun, and
/// returns when the last connection is closed. What is not finished after `config.stop_timeout` is cut off: any
/// client may send or read as slowly as it likes.
///
/// Beyond `config.max_connections` a client is accepted, told 503 with Retry-After, and closed: a load
/// balancer then sends it elsewhere, where in the backlog it would wait for nobody knows how long.
///
/// What is asked and answered is counted in `traffic`.
pub async fn serve<F, R>(
    filter: F,
    listener: TcpListener,
    config: &Config,
    traffic: Arc<Traffic>,
    shutdown: impl Future<Output = ()>,
) where
    F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    R: Reply,
{
    let config = Arc::new(config.clone());
    let observer = Arc::new(Observer::new(traffic, &config));
    let slots = config.max_connections.min(u32::MAX as usize);
    let free = Arc::new(Semaphore::new(slots));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let tree = warp::service(filter);
    let (stop, stopping) = watch::channel(Stop::NotYet);

    let mut full = Streak::default();
    let mut failing = Streak::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                if failing.begins() {
                    log::error!("connections cannot be accepted: {error}");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if failing.ends() {
            log::info!("connections are accepted again");
        }
        // An answer leaves when it is written; without this, one in two pieces waits for the peer's ACK.
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("TCP_NODELAY was refused: {error}");
        }
        if let Ok(slot) = Arc::clone(&free).try_acquire_owned() {
            if full.ends() {
                log::info!("there are free connections again");
            }
            let (tree, config, stopping) = (tree.clone(), Arc::clone(&config), stopping.clone());
            let observer = Arc::clone(&observer);
            tokio::spawn(async move {
                connection::serve(stream, tree, config, observer, stopping).await;
                drop(slot);
            });
        } else {
            if full.begins() {
                log::warn!(connections = slots; "no connection is free: further clients are answered 503");
            }
            refuse(stream, &refusals, &config, &observer);
        }
    }
    drop(listener);
    stop.send_replace(Stop::WhenFinished);
    // All slots are free when the last connection is closed. The semaphore is never closed.
    if timeout(config.stop_timeout, free.acquire_many(slots as u32)).await.is_err() {
        let connections = slots - free.available_permits();
        log::warn!(connections; "cut off: still busy at half of SHUTDOWN_TIMEOUT");
        stop.send_replace(Stop::AtOnce);
        drop(free.acquire_many(slots as u32).await);
    }
}

/// How far a stop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    NotYet,
    WhenFinished,
    AtOnce,
}

fn refuse(stream: TcpStream, refusals: &Arc<Semaphore>, config: &Arc<Config>, observer: &Arc<Observer>) {
    if let Ok(turn) = Arc::clone(refusals).try_acquire_owned() {
        let (config, observer) = (Arc::clone(config), Arc::clone(observer));
        tokio::spawn(async move {
            connection::refuse(stream, &config, &observer).await;
            drop(turn);
        });
    }
}

/// Errors of accept(2) that concern one connection only, which is gone.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A condition of which the log hears when it begins and when it is over, not each time.
#[derive(Debug, Default)]
struct Streak {
    last: Option<Instant>,
}

impl Streak {
    /// Notes the condition; whether it is news.
    fn begins(&mut self) -> bool {
        self.last.replace(Instant::now()).is_none()
    }

    /// Notes its absence; whether it is over. One that comes and goes goes on.
    fn ends(&mut self) -> bool {
        let over = self.last.is_some_and(|last| last.elapsed() >= CALM);
        if over {
            self.last = None;
        }
        over
    }
}
