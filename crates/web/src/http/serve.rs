//! The accept loops.

use std::{convert::Infallible, io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use futures::{pending, poll};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Semaphore, watch},
    task::yield_now,
    time::{Instant, timeout},
};
use warp::{Filter, Reply};

use super::{
    Config, Traffic,
    access::Access,
    budget::{self, KERNEL_BUFFER, MemoryBudget},
    connection::{self, Stop},
    deadlines::{ConnectionDeadlines, Phase},
    limiter::ConnectionLimiter,
    observer::Observer,
    tree::Tree,
};
use crate::{
    auth::AccessGate,
    shutdown::{Shutdown, Stage},
};

/// The number of further clients that are accepted for a 503 or for `/health`; more are dropped. It is also the limit of
/// connections to the operations port.
const RESERVE: usize = 64;
/// The longest time of a request's head from such a client.
const RESERVE_HEAD: Duration = Duration::from_secs(2);
/// The number of connections that are accepted before other ready tasks have their turn.
const ACCEPTED_IN_A_ROW: usize = 16;
/// The longest wait for a turn: under more posts than the processors can take, reads and probes go on all the same.
const LONGEST_TURN: Duration = Duration::from_secs(1);
/// The pause when no connection can be accepted, usually for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// The time after which an absent condition is over.
const CALM: Duration = Duration::from_secs(10);

/// The listening sockets of a service.
#[derive(Debug)]
pub struct Listeners {
    /// The socket for clients.
    pub clients: TcpListener,
    /// The socket for operators, where they have a port of their own: [`Config::ops_port`].
    pub probes: Option<TcpListener>,
    /// The socket for scrapers, where they have a port of their own: [`Config::metrics_port`].
    pub metrics: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(clients: TcpListener) -> Self {
        Self { clients, probes: None, metrics: None }
    }
}

/// Answers requests until the stop is requested. Then it accepts no more connections, finishes the requests in progress, and
/// returns when the last connection is closed. After `config.stop_timeout` the rest is cut off, since a client may be
/// arbitrarily slow.
///
/// Beyond `config.max_connections`, or without memory for one more, the connection that has been idle for longest is closed
/// for a new one. Where none is idle, the client gets 503 with Retry-After, so that a load balancer sends it elsewhere; in
/// the backlog it would wait without bound. `/health` and `/ready` are answered even then.
///
/// `traffic` counts the requests and answers.
pub async fn serve<F, R>(
    filter: F,
    listeners: Listeners,
    config: &Config,
    traffic: Arc<Traffic>,
    shutdown: &Shutdown,
) where
    F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    R: Reply,
{
    let budget = Arc::new(MemoryBudget::new(config.max_bytes.unwrap_or(budget::DEFAULT)));
    let deadlines = (config.header_timeout, config.request_timeout);
    let limiter = ConnectionLimiter::new(config.max_connections, deadlines, budget)
        .with_max_per_address(config.max_connections_per_address.unwrap_or(usize::MAX));
    let limiter = Arc::new(limiter);
    // Outside the common budget: the memory of probes is small, and known.
    let apart = |head| {
        let budget = Arc::new(MemoryBudget::new(usize::MAX));
        Arc::new(
            ConnectionLimiter::new(RESERVE, (head, config.request_timeout), budget)
                .with_eviction_before_head(),
        )
    };
    let reserve = apart(RESERVE_HEAD.min(config.header_timeout));
    traffic.watch(&limiter);
    let gate = Arc::new(AccessGate::new(&config.auth, traffic.paths()));
    traffic.watch_clients(&gate);
    config.tracer.iter().for_each(|tracer| traffic.watch_spans(tracer.clone()));
    config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
    let config = Arc::new(config.clone());

    let (stop, stopping) = watch::channel(Stop::NotYet);
    let acceptor = Acceptor {
        tree: Tree::new(filter),
        observer: Arc::new(Observer::new(traffic, &config)),
        config: Arc::clone(&config),
        gate: Arc::clone(&gate),
        stop: stopping,
        limiters: vec![(Arc::clone(&limiter), Access::All), (Arc::clone(&reserve), Access::Reserve)],
        turns: Turns::new(),
        full: Streak::default(),
    };
    let apart = |listener: Option<TcpListener>, access| {
        let limiters = vec![(apart(config.header_timeout), access)];
        let mut acceptor =
            Acceptor { limiters, turns: Turns::new(), full: Streak::default(), ..acceptor.clone() };
        async move {
            match listener {
                Some(listener) => acceptor.accept(listener, std::future::pending()).await,
                None => std::future::pending().await,
            }
        }
    };
    let probes = apart(listeners.probes, Access::Probes);
    let metrics = apart(listeners.metrics, Access::Metrics);
    let serving = async {
        let mut acceptor = acceptor;
        acceptor.accept(listeners.clients, shutdown.requested()).await;
        stop.send_replace(Stop::WhenFinished);
        let finished = async { tokio::join!(limiter.drained(), reserve.drained()) };
        if timeout(config.stop_timeout, finished).await.is_err() {
            let connections = limiter.connections() + reserve.connections();
            log::warn!(connections; "cut off: still busy {:?} after the stop", config.stop_timeout);
            stop.send_replace(Stop::AtOnce);
            tokio::join!(limiter.drained(), reserve.drained());
        }
    };
    let closing = async {
        shutdown.reached(Stage::Closing).await;
        stop.send_if_modified(|stop| std::mem::replace(stop, Stop::Closing.max(*stop)) < Stop::Closing);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = closing => {}
        () = probes => {}
        () = metrics => {}
        () = gate.watch() => {}
    }
    // Connections of probes end with the current request.
    stop.send_replace(Stop::AtOnce);
}

/// Accepts the connections of a port.
#[derive(Clone)]
struct Acceptor {
    tree: Tree,
    config: Arc<Config>,
    observer: Arc<Observer>,
    gate: Arc<AccessGate>,
    stop: watch::Receiver<Stop>,
    /// The limiters in the order in which they are tried, and the routes that are open in each.
    limiters: Vec<(Arc<ConnectionLimiter>, Access)>,
    turns: Arc<Turns>,
    full: Streak,
}

impl Acceptor {
    /// Accepts connections until `until`, and then those that were made before.
    async fn accept(&mut self, listener: TcpListener, until: impl Future<Output = ()>) {
        // Otherwise the kernel's buffers would grow with bytes that a client sends ahead or does not read. Connections
        // inherit the sizes.
        let socket = SockRef::from(&listener);
        let bounded = socket
            .set_recv_buffer_size(KERNEL_BUFFER)
            .and_then(|()| socket.set_send_buffer_size(KERNEL_BUFFER));
        if let Err(error) = bounded {
            log::warn!("the system's buffers of connections are not bounded: {error}");
        }
        let mut failing = Streak::default();
        let mut until = pin!(until);
        let mut in_a_row = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut until => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if failing.ends() {
                        log::info!("connections are accepted again");
                    }
                    self.admit(stream, peer.ip());
                    in_a_row += 1;
                    if in_a_row == ACCEPTED_IN_A_ROW {
                        in_a_row = 0;
                        yield_now().await;
                    }
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if failing.begins() {
                        log::error!("connections cannot be accepted: {error}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // Connections in the backlog are established for their clients; closing the listener would reset them. The kernel is
        // asked directly, since the runtime's readiness can be out of date.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                self.admit(stream, peer.ip());
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, address: IpAddr) {
        // An answer leaves as it is written. Without this, one in two pieces waits for the peer's ACK.
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("TCP_NODELAY was refused: {error}");
        }
        let mut limiters = self.limiters.iter();
        let found = limiters.find_map(|(limiter, access)| Some((limiter.admit(address)?, *access)));
        if matches!(found, Some((_, Access::All | Access::Probes))) {
            if self.full.ends() {
                log::info!("there are free connections again");
            }
        } else if self.full.begins() {
            let connections = self.limiters[0].0.connections();
            log::warn!(connections; "no connection is free: further clients are answered 503");
        }
        let Some((slot, access)) = found else { return };
        let (tree, config, stop) = (self.tree.clone(), Arc::clone(&self.config), self.stop.clone());
        let seen = (Arc::clone(&self.observer), Arc::clone(&self.gate));
        let turns = Arc::clone(&self.turns);
        tokio::spawn(async move {
            let serving = connection::serve(stream, (&slot, access), tree, config, seen, stop);
            turns.serve(serving, &slot.deadlines).await;
        });
    }
}

/// The turns of connections that are expected to read, as many as there are threads: those of connections with their first
/// request, and those of connections whose last request was a read.
struct Turns {
    first: Semaphore,
    next: Semaphore,
}

impl Turns {
    fn new() -> Arc<Self> {
        let turns = || Semaphore::new(Handle::current().metrics().num_workers());
        Arc::new(Self { first: turns(), next: turns() })
    }

    /// Serves a connection. One that is expected to read takes a turn, after everything else that is ready. Tasks are polled
    /// in the order in which they became ready: without turns, thousands of clients that read at once would each be ahead of
    /// a later write.
    async fn serve(&self, serving: impl Future<Output = ()>, deadlines: &ConnectionDeadlines) {
        let mut serving = pin!(serving);
        loop {
            let turns = match deadlines.expects_read() {
                Some(Phase::New) => Some(&self.first),
                Some(_) => Some(&self.next),
                None => None,
            };
            let mut turn = None;
            if let Some(turns) = turns {
                turn = timeout(LONGEST_TURN, turns.acquire()).await.ok();
                yield_now().await;
            }
            if poll!(&mut serving).is_ready() {
                return;
            }
            drop(turn);
            pending!();
        }
    }
}

/// Errors of accept(2) that concern one connection alone, which is gone.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A condition that is logged when it begins and when it ends, not each time.
#[derive(Debug, Clone, Default)]
struct Streak {
    last: Option<Instant>,
}

impl Streak {
    /// Notes the condition; returns whether it has just begun.
    fn begins(&mut self) -> bool {
        self.last.replace(Instant::now()).is_none()
    }

    /// Notes the absence of the condition; returns whether it is over. An intermittent condition continues.
    fn ends(&mut self) -> bool {
        let over = self.last.is_some_and(|last| last.elapsed() >= CALM);
        if over {
            self.last = None;
        }
        over
    }
}
