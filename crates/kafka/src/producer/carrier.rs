//! What takes batches to a broker: those of all lanes whose partitions it leads, in one request at a time.
//!
//! A request costs a broker as much as a hundred records do, and hardly more for several partitions than for one
//! (for the same reason Java's client drains its batches by node: `Sender`, `RecordAccumulator`). So a lane asks for a
//! place in the next request. When that is about to leave, all who asked are called together, and each hands in what
//! it has by then.
//!
//! The price: a broker answers a request when it is done with each partition in it. One that waits for a replica that
//! is gone would keep the others waiting. So a request of several gets half of the time, and a lane that met with
//! trouble goes by a carrier of its own until the trouble is over.

use std::{
    io::ErrorKind,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use log::{info, warn};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use super::queue::Queue;
use crate::{
    Cluster,
    wire::{Connection, LONGEST_IDLE, WireError},
};

/// The records of a request after which the next may take a moment to fill: so many callers at once do not come from
/// a few clients that all wait for this very request.
const FULL: usize = 100;
/// The least time from a full request to the next.
const RHYTHM: Duration = Duration::from_millis(4);
/// How often it is looked whether more came, while one fills.
const LOOK: Duration = Duration::from_millis(1);

/// What a request holds, in bytes, unless one batch alone is larger. Brokers take 100 MiB (`socket.request.max.bytes`).
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// For so long after the last pause Kafka counts as throttling.
const CALM: Duration = Duration::from_secs(30);

/// The carriers of a producer, by the `host:port` of their brokers.
#[derive(Debug)]
pub(super) struct Carriers {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    queue: Arc<Queue>,
    by_broker: Mutex<Vec<(String, Carrier)>>,
}

/// The way to one that is under way between us and its broker, until its connection breaks.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    asks: mpsc::UnboundedSender<Ask>,
    throttle: Arc<Throttle>,
}

/// While the broker throttles, and for a while after: when its pause ends. A quota is a broker's own, so what one asked
/// for does not bind the next.
#[derive(Debug, Default)]
struct Throttle(Mutex<Option<Instant>>);

/// Somebody who wants a place.
type Ask = oneshot::Sender<Place>;

/// A place in the request that is about to leave. It waits for nobody else: to be used at once, or dropped.
#[derive(Debug)]
pub(super) struct Place(oneshot::Sender<Parcel>);

/// A batch, and whom to tell what became of it.
#[derive(Debug)]
struct Parcel {
    partition: i32,
    batch: Bytes,
    records: usize,
    patience: Duration,
    tell: oneshot::Sender<Result<i64, Arc<WireError>>>,
}

impl Carriers {
    pub(super) fn new(cluster: Arc<Cluster>, topic: Arc<str>, queue: Arc<Queue>) -> Self {
        Self { cluster, topic, queue, by_broker: Mutex::default() }
    }

    /// The one to that broker, if its connection stands, as far as is known.
    pub(super) fn to(&self, broker: &str) -> Option<Carrier> {
        let by_broker = self.by_broker();
        let (_, known) = by_broker.iter().find(|(to, _)| to == broker)?;
        known.is_under_way().then(|| known.clone())
    }

    /// Another one to that broker, `host:port`, which only the caller knows of.
    pub(super) async fn another(&self, host: &str, port: i32) -> Result<Carrier, WireError> {
        Ok(self.send_off(self.cluster.connect_to(host, port).await?))
    }

    /// All lanes may go by it, unless they have one; another lane may have been faster.
    pub(super) fn offer(&self, broker: String, carrier: Carrier) {
        let mut by_broker = self.by_broker();
        by_broker.retain(|(_, known)| known.is_under_way());
        if by_broker.iter().all(|(to, _)| *to != broker) {
            by_broker.push((broker, carrier));
        }
    }

    /// Its connection is not to be trusted: who asks next gets another. Those who have a place keep it.
    pub(super) fn give_up(&self, carrier: &Carrier) {
        self.by_broker().retain(|(_, known)| !known.asks.same_channel(&carrier.asks));
    }

    fn send_off(&self, connection: Connection) -> Carrier {
        let (asks, asked) = mpsc::unbounded_channel();
        let throttle = Arc::<Throttle>::default();
        let tour = Tour {
            connection,
            topic: Arc::clone(&self.topic),
            queue: Arc::clone(&self.queue),
            asked,
            throttle: Arc::clone(&throttle),
            left: Instant::now(),
            records: 0,
        };
        tokio::spawn(tour.run());
        Carrier { asks, throttle }
    }

    fn by_broker(&self) -> MutexGuard<'_, Vec<(String, Carrier)>> {
        self.by_broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier {
    /// Waits for a place in the next request.
    pub(super) async fn place(&self) -> Result<Place, WireError> {
        let (call, called) = oneshot::channel();
        let _ended = self.asks.send(call);
        called.await.map_err(|_| broke())
    }

    /// Until when the broker takes nothing, where that is to come.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.throttle.get().filter(|until| *until > Instant::now())
    }

    /// Whether its connection stands, as far as is known.
    pub(super) fn is_under_way(&self) -> bool {
        !self.asks.is_closed()
    }
}

impl Place {
    /// Sends that batch, of so many records, to the leader of its partition; returns the offset of its first record,
    /// the others follow it. An answer is waited for at least as long as `patience` says.
    pub(super) async fn hand_in(
        self,
        partition: i32,
        batch: Bytes,
        records: usize,
        patience: Duration,
    ) -> Result<i64, Arc<WireError>> {
        let (tell, told) = oneshot::channel();
        let _ended = self.0.send(Parcel { partition, batch, records, patience, tell });
        told.await.unwrap_or_else(|_| Err(Arc::new(broke())))
    }
}

/// It ended with a request of others.
fn broke() -> WireError {
    WireError::Broken { address: "the leader".to_owned(), source: ErrorKind::ConnectionAborted.into() }
}

/// A carrier's task.
struct Tour {
    connection: Connection,
    topic: Arc<str>,
    queue: Arc<Queue>,
    asked: mpsc::UnboundedReceiver<Ask>,
    throttle: Arc<Throttle>,
    /// When the last request left, and how many records it had.
    left: Instant,
    records: usize,
}

impl Tour {
    /// Until the connection breaks or is idle for long, or nobody can ask any more. Who has asked then hears of it by
    /// having no place.
    async fn run(mut self) {
        while let Ok(Some(first)) = timeout(LONGEST_IDLE, self.asked.recv()).await {
            self.fill().await;
            // Whoever is about to ask comes along: lanes whose callers the last answer woke, as a rule.
            tokio::task::yield_now().await;
            let mut parcels = self.call(first).await;
            (self.left, self.records) = (Instant::now(), parcels.iter().map(|parcel| parcel.records).sum());
            while !parcels.is_empty() {
                let rest = parcels.split_off(fitting(&parcels));
                if self.carry(mem::replace(&mut parcels, rest)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// While requests are [`FULL`], and for as long as more comes, waits until the next is due.
    async fn fill(&self) {
        let mut before = 0;
        while self.records >= FULL && self.left.elapsed() < RHYTHM {
            let (held, _) = self.queue.held();
            if held == before {
                break;
            }
            before = held;
            sleep(LOOK).await;
        }
    }

    /// What those hand in who have asked so far.
    async fn call(&mut self, first: Ask) -> Vec<Parcel> {
        let mut places = Vec::new();
        let mut next = Some(first);
        while let Some(ask) = next {
            let (place, handed_in) = oneshot::channel();
            if ask.send(Place(place)).is_ok() {
                places.push(handed_in);
            }
            next = self.asked.try_recv().ok();
        }
        let mut parcels = Vec::with_capacity(places.len());
        for handed_in in places {
            if let Ok(parcel) = handed_in.await {
                parcels.push(parcel);
            }
        }
        parcels
    }

    /// One request, and its answer to those whose batches are in it; an error where none came.
    async fn carry(&mut self, parcels: Vec<Parcel>) -> Result<(), Arc<WireError>> {
        let patience = parcels.iter().map(|parcel| parcel.patience).max().unwrap_or_default();
        let hold = if parcels.len() > 1 { patience / 2 } else { patience };
        let batches = parcels.iter().map(|parcel| (parcel.partition, parcel.batch.clone())).collect();
        match self.connection.produce(&self.topic, batches, hold, patience).await {
            Ok(produced) => {
                self.throttle.note(produced.throttle, &self.connection);
                for (parcel, written) in parcels.into_iter().zip(produced.written) {
                    let _nobody_waits = parcel.tell.send(written.map_err(Arc::new));
                }
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                for parcel in parcels {
                    let _nobody_waits = parcel.tell.send(Err(Arc::clone(&error)));
                }
                Err(error)
            }
        }
    }
}

/// How many of them, from the first on, fit into one request; at least one.
fn fitting(parcels: &[Parcel]) -> usize {
    let mut bytes = 0;
    let fit = parcels.iter().take_while(|parcel| {
        bytes += parcel.batch.len();
        bytes <= MOST_BYTES
    });
    fit.count().max(1)
}

impl Throttle {
    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the broker said of its quota.
    fn note(&self, pause: Duration, connection: &Connection) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = connection.address();
        if !pause.is_zero() {
            if until.replace(Instant::now() + pause).is_none() {
                warn!("writing to {broker}: Kafka throttles this client by a quota; waiting as it says");
            }
        } else if until.is_some_and(|until| until + CALM < Instant::now()) {
            *until = None;
            info!("writing to {broker}: Kafka throttles no more");
        }
    }
}
