//! Sends records and waits for Kafka's acknowledgement by all in-sync replicas.
//!
//! ```text
//! publish ─▶ queue bounds ─▶ partition by key ─▶ lane of that partition ─▶ carrier to its leader ─▶ Kafka
//!                                                 one batch in flight,      one request in flight,
//!                                                 the next gathers          a batch a lane
//! ```
//!
//! A message leaves at once when the way to its leader is idle; while a request is in flight the next one gathers, and
//! under load it gathers for some milliseconds, as long as more comes. There is no linger to tune, and with one batch
//! in flight the order within a partition is the order of calls.
//! While the broker that leads a partition hangs, its [`breaker`] refuses what is published to that partition.

mod batch;
mod breaker;
mod carrier;
mod failure;
mod lane;
mod queue;
mod writer;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tokio::{
    sync::{
        mpsc::{self, error::SendError},
        oneshot,
    },
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    Board, Cluster, Message, ProducerConfig, ProducerFigures, PublishError, Publisher, Receipt,
    counts::ProducerCounts, partitioner, topic::Topic,
};
use batch::Pending;
pub(super) use breaker::Breakers;
use breaker::Gate;
use carrier::Carriers;
use lane::Lane;
use queue::Queue;

/// A producer of one topic. Dropped, it gives up what is queued: [`Producer::close`] it first.
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    topic: Topic,
    config: ProducerConfig,
    board: Arc<Board>,
    queue: Arc<Queue>,
    carriers: Arc<Carriers>,
    lanes: Mutex<Lanes>,
    spread: AtomicUsize,
    counts: Arc<ProducerCounts>,
    is_needed: bool,
}

/// A sender a partition, and the tasks behind them; `None` once closed.
#[derive(Debug, Default)]
struct Lanes {
    senders: Option<Vec<Entrance>>,
    tasks: JoinSet<()>,
}

/// The way into a lane.
#[derive(Debug)]
struct Entrance {
    gate: Arc<Gate>,
    sender: mpsc::UnboundedSender<Pending>,
}

impl Producer {
    /// A producer of that topic. Connects when there is something to send.
    pub fn new(cluster: Arc<Cluster>, topic: Topic, config: ProducerConfig, board: Arc<Board>) -> Self {
        let queue = Arc::new(Queue::new(config.queue_records, config.queue_bytes));
        let lanes = Lanes { senders: Some(Vec::new()), tasks: JoinSet::new() };
        let carriers =
            Carriers::new(Arc::clone(&cluster), Arc::clone(topic.name()), Arc::clone(&queue)).into();
        Self {
            cluster,
            topic,
            config,
            board,
            queue,
            carriers,
            lanes: Mutex::new(lanes),
            spread: AtomicUsize::new(0),
            counts: Arc::default(),
            is_needed: true,
        }
    }

    /// The service is ready also while this is refused whatever it sends: dead letters are nobody's request.
    #[must_use]
    pub(super) fn not_needed(self) -> Self {
        Self { is_needed: false, ..self }
    }

    /// The topic it sends to.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// What it has done and holds now.
    pub fn figures(&self) -> ProducerFigures {
        let (queued_records, queued_bytes) = self.queue.held();
        ProducerFigures {
            records: self.counts.records.get(),
            batches: self.counts.batches.get(),
            retries: self.counts.retries.get(),
            throttled: self.counts.throttled.get(),
            errors: self.counts.errors(),
            queued_records,
            queued_bytes,
        }
    }

    /// Takes nothing more, and waits until what is queued is acknowledged or out of time.
    pub async fn close(&self) {
        let mut tasks = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.senders = None;
            std::mem::take(&mut lanes.tasks)
        };
        while tasks.join_next().await.is_some() {}
    }

    /// Hands the message to the lane of its partition.
    fn enqueue(&self, pending: Pending, partition: usize, partitions: usize) -> Result<(), PublishError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Lanes { senders, tasks } = &mut *lanes;
        let senders = senders.as_mut().ok_or(PublishError::Stopping)?;
        while senders.len() < partitions {
            senders.push(self.open_lane(senders.len(), tasks));
        }
        if !senders[partition].gate.admits() {
            return Err(senders[partition].gate.refusal());
        }
        let Err(SendError(pending)) = senders[partition].sender.send(pending) else { return Ok(()) };
        // A lane ends before its senders do only by a panic, which cost those it was busy with.
        log::error!("writing to {}/{partition} broke down and begins anew", self.topic.name());
        senders[partition] = self.open_lane(partition, tasks);
        senders[partition].sender.send(pending).map_err(|_| PublishError::Stopping)
    }

    fn open_lane(&self, partition: usize, tasks: &mut JoinSet<()>) -> Entrance {
        let (sender, receiver) = mpsc::unbounded_channel();
        let gate = Arc::<Gate>::default();
        let lane = Lane::new(self, partition as i32, Arc::clone(&gate), receiver);
        tasks.spawn(lane.run());
        Entrance { gate, sender }
    }

    fn partition_of(&self, message: &Message, partitions: usize) -> usize {
        let named = message.partition.and_then(|partition| usize::try_from(partition).ok());
        if let Some(named) = named.filter(|partition| *partition < partitions) {
            return named;
        }
        match &message.key {
            Some(key) => partitioner::partition_for_key(key, partitions) as usize,
            None => self.spread.fetch_add(1, Ordering::Relaxed) % partitions,
        }
    }
}

#[async_trait]
impl Publisher for Producer {
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        let result = self.send(message).await;
        match &result {
            Ok(_) => self.counts.records.add(1),
            Err(error) => self.counts.error(error),
        }
        result
    }
}

impl Producer {
    async fn send(&self, message: Message) -> Result<Receipt, PublishError> {
        let deadline = Instant::now() + self.config.timeout;
        let room = self.queue.reserve(batch::size_of(&message)).ok_or(PublishError::QueueFull)?;
        let partitions = match self.topic.partitions() {
            // Boxed: it happens once, and its timer would make room for itself in every request.
            0 => Box::pin(self.await_topic(deadline)).await?,
            known => known,
        };
        let partition = self.partition_of(&message, partitions);
        let (reply, answer) = oneshot::channel();
        self.enqueue(Pending::new(message, deadline, reply, room), partition, partitions)?;
        // The lane keeps the deadline.
        answer.await.unwrap_or_else(|_| {
            let reason = "the producer ended before Kafka acknowledged".to_owned();
            Err(PublishError::Unavailable { reason, possibly_written: true })
        })
    }

    async fn await_topic(&self, deadline: Instant) -> Result<usize, PublishError> {
        let mut topic = self.topic.clone();
        let known = async {
            tokio::select! {
                biased;
                known = topic.known_partitions() => known,
                () = self.cluster.until_away() => 0,
            }
        };
        match timeout_at(deadline, known).await {
            Ok(partitions) if partitions > 0 => Ok(partitions),
            _ => {
                let trouble = self.board.trouble(&Topic::part(self.topic.name()));
                let reason = trouble.unwrap_or_else(|| "the topic is not known yet".to_owned());
                Err(PublishError::Unavailable { reason, possibly_written: false })
            }
        }
    }
}
