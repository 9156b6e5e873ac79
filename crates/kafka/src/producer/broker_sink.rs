//! What takes batches to a broker: those of all queues whose partitions it leads, in one request at a time.
//!
//! A request costs a broker as much as a hundred records do, and hardly more for several partitions than for one
//! (for the same reason Java's client drains its batches by node: `Sender`, `RecordAccumulator`). So a queue requests for a
//! slot in the next request. When that is about to leave, all who requested are called together, and each hands in what
//! it has by then.
//!
//! The price: a broker answers a request when it is done with each partition in it. One that waits for a replica that
//! is gone would keep the others waiting. So a request of several gets half of the time, and a queue that met with
//! trouble goes by a sink of its own until the trouble is over.

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

use super::buffer_budget::BufferBudget;
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

/// The sinks of a producer, by the `host:port` of their brokers.
#[derive(Debug)]
pub(super) struct BrokerSinks {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    budget: Arc<BufferBudget>,
    by_broker: Mutex<Vec<(String, BrokerSink)>>,
}

/// The way to one that is under way between us and its broker, until its connection breaks.
#[derive(Debug, Clone)]
pub(super) struct BrokerSink {
    requests: mpsc::UnboundedSender<SlotRequest>,
    throttle: Arc<Throttle>,
}

/// While the broker throttles, and for a while after: when its pause ends. A quota is a broker's own, so what one requested
/// for does not bind the next.
#[derive(Debug, Default)]
struct Throttle(Mutex<Option<Instant>>);

/// Somebody who wants a slot.
type SlotRequest = oneshot::Sender<BatchSlot>;

/// A slot in the request that is about to leave. It waits for nobody else: to be used at once, or dropped.
#[derive(Debug)]
pub(super) struct BatchSlot(oneshot::Sender<PendingBatch>);

/// A batch, and whom to tell what became of it.
#[derive(Debug)]
struct PendingBatch {
    partition: i32,
    batch: Bytes,
    records: usize,
    timeout: Duration,
    reply: oneshot::Sender<Result<i64, Arc<WireError>>>,
}

impl BrokerSinks {
    pub(super) fn new(cluster: Arc<Cluster>, topic: Arc<str>, budget: Arc<BufferBudget>) -> Self {
        Self { cluster, topic, budget, by_broker: Mutex::default() }
    }

    /// The one to that broker, if its connection stands, as far as is known.
    pub(super) fn to(&self, broker: &str) -> Option<BrokerSink> {
        let by_broker = self.by_broker();
        let (_, known) = by_broker.iter().find(|(to, _)| to == broker)?;
        known.is_open().then(|| known.clone())
    }

    /// Another one to that broker, `host:port`, which only the caller knows of.
    pub(super) async fn another(&self, host: &str, port: i32) -> Result<BrokerSink, WireError> {
        Ok(self.spawn(self.cluster.connect_to(host, port).await?))
    }

    /// All queues may go by it, unless they have one; another queue may have been faster.
    pub(super) fn offer(&self, broker: String, sink: BrokerSink) {
        let mut by_broker = self.by_broker();
        by_broker.retain(|(_, known)| known.is_open());
        if by_broker.iter().all(|(to, _)| *to != broker) {
            by_broker.push((broker, sink));
        }
    }

    /// Its connection is not to be trusted: who requests next gets another. Those who have a slot keep it.
    pub(super) fn give_up(&self, sink: &BrokerSink) {
        self.by_broker().retain(|(_, known)| !known.requests.same_channel(&sink.requests));
    }

    fn spawn(&self, connection: Connection) -> BrokerSink {
        let (requests, requested) = mpsc::unbounded_channel();
        let throttle = Arc::<Throttle>::default();
        let task = SinkTask {
            connection,
            topic: Arc::clone(&self.topic),
            budget: Arc::clone(&self.budget),
            requested,
            throttle: Arc::clone(&throttle),
            left: Instant::now(),
            records: 0,
        };
        tokio::spawn(task.run());
        BrokerSink { requests, throttle }
    }

    fn by_broker(&self) -> MutexGuard<'_, Vec<(String, BrokerSink)>> {
        self.by_broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerSink {
    /// Waits for a slot in the next request.
    pub(super) async fn slot(&self) -> Result<BatchSlot, WireError> {
        let (call, called) = oneshot::channel();
        let _ended = self.requests.send(call);
        called.await.map_err(|_| broke())
    }

    /// Until when the broker takes nothing, where that is to come.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.throttle.get().filter(|until| *until > Instant::now())
    }

    /// Whether its connection stands, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }
}

impl BatchSlot {
    /// Sends that batch, of so many records, to the leader of its partition; returns the offset of its first record,
    /// the others follow it. An answer is waited for at least as long as `timeout` says.
    pub(super) async fn submit(
        self,
        partition: i32,
        batch: Bytes,
        records: usize,
        timeout: Duration,
    ) -> Result<i64, Arc<WireError>> {
        let (reply, response) = oneshot::channel();
        let _ended = self.0.send(PendingBatch { partition, batch, records, timeout, reply });
        response.await.unwrap_or_else(|_| Err(Arc::new(broke())))
    }
}

/// It ended with a request of others.
fn broke() -> WireError {
    WireError::Broken { address: "the leader".to_owned(), source: ErrorKind::ConnectionAborted.into() }
}

/// A sink's task.
struct SinkTask {
    connection: Connection,
    topic: Arc<str>,
    budget: Arc<BufferBudget>,
    requested: mpsc::UnboundedReceiver<SlotRequest>,
    throttle: Arc<Throttle>,
    /// When the last request left, and how many records it had.
    left: Instant,
    records: usize,
}

impl SinkTask {
    /// Until the connection breaks or is idle for long, or nobody can ask any more. Who has requested then hears of it by
    /// having no slot.
    async fn run(mut self) {
        while let Ok(Some(first)) = timeout(LONGEST_IDLE, self.requested.recv()).await {
            self.fill().await;
            // Whoever is about to ask comes along: queues whose callers the last answer woke, as a rule.
            tokio::task::yield_now().await;
            let mut batches = self.collect(first).await;
            (self.left, self.records) = (Instant::now(), batches.iter().map(|pending| pending.records).sum());
            while !batches.is_empty() {
                let rest = batches.split_off(fitting(&batches));
                if self.produce(mem::replace(&mut batches, rest)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// While requests are [`FULL`], and for as long as more comes, waits until the next is due.
    async fn fill(&self) {
        let mut before = 0;
        while self.records >= FULL && self.left.elapsed() < RHYTHM {
            let (held, _) = self.budget.held();
            if held == before {
                break;
            }
            before = held;
            sleep(LOOK).await;
        }
    }

    /// What those hand in who have requested so far.
    async fn collect(&mut self, first: SlotRequest) -> Vec<PendingBatch> {
        let mut slots = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            let (slot, submitted) = oneshot::channel();
            if request.send(BatchSlot(slot)).is_ok() {
                slots.push(submitted);
            }
            next = self.requested.try_recv().ok();
        }
        let mut batches = Vec::with_capacity(slots.len());
        for submitted in slots {
            if let Ok(pending) = submitted.await {
                batches.push(pending);
            }
        }
        batches
    }

    /// Sends one request, and tells each batch's sender what became of it.
    ///
    /// # Errors
    ///
    /// The request has no response.
    async fn produce(&mut self, pending: Vec<PendingBatch>) -> Result<(), Arc<WireError>> {
        let timeout = pending.iter().map(|pending| pending.timeout).max().unwrap_or_default();
        let broker_timeout = if pending.len() > 1 { timeout / 2 } else { timeout };
        let batches = pending.iter().map(|pending| (pending.partition, pending.batch.clone())).collect();
        match self.connection.produce(&self.topic, batches, broker_timeout, timeout).await {
            Ok(produced) => {
                self.throttle.note(produced.throttle, &self.connection);
                for (pending, written) in pending.into_iter().zip(produced.written) {
                    let _nobody_waits = pending.reply.send(written.map_err(Arc::new));
                }
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                for pending in pending {
                    let _nobody_waits = pending.reply.send(Err(Arc::clone(&error)));
                }
                Err(error)
            }
        }
    }
}

/// How many of them, from the first on, fit into one request; at least one.
fn fitting(batches: &[PendingBatch]) -> usize {
    let mut bytes = 0;
    let fit = batches.iter().take_while(|pending| {
        bytes += pending.batch.len();
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
