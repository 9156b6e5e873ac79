//! Sends the batches of all partitions that a broker leads, one Produce request at a time (franz-go: `sink`).
//!
//! A request costs a broker as much as a hundred records, and hardly more for several partitions than for one. (Java's
//! `Sender` drains batches by node for the same reason.) So a partition queue asks for a slot in the next request. When
//! that is about to be sent, every slot is granted at once, and each queue submits the records that it has by then.
//!
//! The price: a broker answers when it is done with all partitions of a request, so one that waits for a lost replica
//! would hold up the others. Therefore a request of several partitions gets half of the timeout, and a queue whose last
//! attempt failed has a sink of its own until a batch is acknowledged.

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

/// The size of a request after which the next one may wait to fill: a few clients that each wait for an acknowledgement
/// cannot have sent so many records.
const FULL_RECORDS: usize = 100;
/// The least time from a full request to the next.
const FULL_INTERVAL: Duration = Duration::from_millis(4);
/// The time between looks for more records, while a request fills.
const FILL_POLL: Duration = Duration::from_millis(1);

/// The most bytes of a request, unless a single batch is larger. Brokers take 100 MiB (`socket.request.max.bytes`).
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// The time for which Kafka counts as throttling after the last pause.
const THROTTLE_MEMORY: Duration = Duration::from_secs(30);

/// The sinks of a producer, by the `host:port` of their brokers.
#[derive(Debug)]
pub(super) struct BrokerSinks {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    budget: Arc<BufferBudget>,
    by_broker: Mutex<Vec<(String, BrokerSink)>>,
}

/// A handle of a sink. The sink lives until its connection breaks or is idle for long.
#[derive(Debug, Clone)]
pub(super) struct BrokerSink {
    requests: mpsc::UnboundedSender<SlotRequest>,
    throttle: Arc<Throttle>,
}

/// The end of the pause of a broker that throttles; `None` if it does not throttle. A quota is that of one broker.
#[derive(Debug, Default)]
struct Throttle(Mutex<Option<Instant>>);

/// A queue that waits for a slot.
type SlotRequest = oneshot::Sender<BatchSlot>;

/// A slot in the request that is about to be sent, which waits for it: submit at once, or drop it.
#[derive(Debug)]
pub(super) struct BatchSlot(oneshot::Sender<PendingBatch>);

/// A submitted batch, and the receiver of its result.
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

    /// The shared sink of that broker, if its connection is open as far as is known.
    pub(super) fn get(&self, broker: &str) -> Option<BrokerSink> {
        let by_broker = self.by_broker();
        let (_, known) = by_broker.iter().find(|(to, _)| to == broker)?;
        known.is_open().then(|| known.clone())
    }

    /// A new sink of that broker, which only the caller has.
    pub(super) async fn connect(&self, host: &str, port: i32) -> Result<BrokerSink, WireError> {
        Ok(self.spawn(self.cluster.connect_to(host, port).await?))
    }

    /// Shares the sink with all queues, unless that broker has one already.
    pub(super) fn share(&self, broker: String, sink: BrokerSink) {
        let mut by_broker = self.by_broker();
        by_broker.retain(|(_, known)| known.is_open());
        if by_broker.iter().all(|(to, _)| *to != broker) {
            by_broker.push((broker, sink));
        }
    }

    /// Shares the sink no more: its connection may be broken. Slots that were granted remain.
    pub(super) fn unshare(&self, sink: &BrokerSink) {
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
            sent_at: Instant::now(),
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
        let (request, slot) = oneshot::channel();
        let _ended = self.requests.send(request);
        slot.await.map_err(|_| closed())
    }

    /// The end of the broker's pause, if it throttles now.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.throttle.get().filter(|until| *until > Instant::now())
    }

    /// Whether its connection is open, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }
}

impl BatchSlot {
    /// Sends a batch of that many records to the leader of its partition, and waits at least `timeout` for the
    /// response. Returns the offset of its first record; the others follow.
    pub(super) async fn submit(
        self,
        partition: i32,
        batch: Bytes,
        records: usize,
        timeout: Duration,
    ) -> Result<i64, Arc<WireError>> {
        let (reply, response) = oneshot::channel();
        let _ended = self.0.send(PendingBatch { partition, batch, records, timeout, reply });
        response.await.unwrap_or_else(|_| Err(Arc::new(closed())))
    }
}

/// The sink ended with the request of another queue.
fn closed() -> WireError {
    WireError::Broken { address: "the leader".to_owned(), error: ErrorKind::ConnectionAborted.into() }
}

/// The task of a sink.
struct SinkTask {
    connection: Connection,
    topic: Arc<str>,
    budget: Arc<BufferBudget>,
    requested: mpsc::UnboundedReceiver<SlotRequest>,
    throttle: Arc<Throttle>,
    /// The time of the last request, and the number of its records.
    sent_at: Instant,
    records: usize,
}

impl SinkTask {
    /// Runs until the connection breaks, is idle for long, or has no handle any more. Its end drops the requests for a slot,
    /// which tells the queues.
    async fn run(mut self) {
        while let Ok(Some(first)) = timeout(LONGEST_IDLE, self.requested.recv()).await {
            self.fill().await;
            // Lets those queues ask whose callers the last response has just woken.
            tokio::task::yield_now().await;
            let mut batches = self.collect(first).await;
            (self.sent_at, self.records) =
                (Instant::now(), batches.iter().map(|pending| pending.records).sum());
            while !batches.is_empty() {
                let rest = batches.split_off(fitting(&batches));
                if self.produce(mem::replace(&mut batches, rest)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// After a full request, waits for [`FULL_INTERVAL`] since then, as long as more records come.
    async fn fill(&self) {
        let mut before = 0;
        while self.records >= FULL_RECORDS && self.sent_at.elapsed() < FULL_INTERVAL {
            let (held, _) = self.budget.held();
            if held == before {
                break;
            }
            before = held;
            sleep(FILL_POLL).await;
        }
    }

    /// Grants a slot to every queue that has asked, and collects their batches.
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

    /// Sends one request, and tells each batch's sender the result.
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

/// The number of batches, from the first on, that fit into one request; at least one.
fn fitting(batches: &[PendingBatch]) -> usize {
    let mut bytes = 0;
    let fit = batches.iter().take_while(|pending| {
        bytes += pending.batch.len();
        bytes <= MAX_REQUEST_BYTES
    });
    fit.count().max(1)
}

impl Throttle {
    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the pause that a response asks for.
    fn note(&self, pause: Duration, connection: &Connection) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = connection.address();
        if !pause.is_zero() {
            if until.replace(Instant::now() + pause).is_none() {
                warn!("writing to {broker}: Kafka throttles this client by a quota; waiting as it says");
            }
        } else if until.is_some_and(|until| until + THROTTLE_MEMORY < Instant::now()) {
            *until = None;
            info!("writing to {broker}: Kafka throttles no more");
        }
    }
}
