//! Sends records and waits for Kafka's acknowledgement by all in-sync replicas.
//!
//! ```text
//! publish ─▶ queue bounds ─▶ partition by key ─▶ lane of that partition ─▶ Kafka
//!                                                 one batch in flight, the next gathers
//! ```
//!
//! A message leaves at once when its lane is idle; while a batch is in flight the next one gathers. There
//! is no linger to tune, and with one batch in flight the order within a partition is the order of calls.

mod batch;
mod lane;
mod queue;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    Board, Cluster, Message, ProducerConfig, PublishError, Publisher, Receipt, partitioner, topic::Topic,
};
use batch::Pending;
use lane::Lane;
use queue::Queue;

/// A producer of one topic. Dropped, it sends what is queued and ends; see [`Producer::close`].
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    topic: Topic,
    config: ProducerConfig,
    board: Arc<Board>,
    queue: Arc<Queue>,
    lanes: Mutex<Lanes>,
    spread: AtomicUsize,
}

/// A sender a partition, and the tasks behind them; `None` once closed.
#[derive(Debug, Default)]
struct Lanes {
    senders: Option<Vec<mpsc::UnboundedSender<Pending>>>,
    tasks: JoinSet<()>,
}

impl Producer {
    /// A producer of that topic. Connects when there is something to send.
    pub fn new(cluster: Arc<Cluster>, topic: Topic, config: ProducerConfig, board: Arc<Board>) -> Self {
        let queue = Arc::new(Queue::new(config.queue_records, config.queue_bytes));
        let lanes = Lanes { senders: Some(Vec::new()), tasks: JoinSet::new() };
        Self { cluster, topic, config, board, queue, lanes: Mutex::new(lanes), spread: AtomicUsize::new(0) }
    }

    /// The topic it sends to.
    pub fn topic(&self) -> &Topic {
        &self.topic
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
            let (sender, receiver) = mpsc::unbounded_channel();
            let lane = Lane::new(
                Arc::clone(&self.cluster),
                Arc::clone(self.topic.name()),
                senders.len() as i32,
                self.config.batch_max_bytes,
                Arc::clone(&self.board),
            );
            tasks.spawn(lane.run(receiver));
            senders.push(sender);
        }
        senders[partition].send(pending).map_err(|_| PublishError::Stopping)
    }

    fn partition_of(&self, message: &Message, partitions: usize) -> usize {
        match &message.key {
            Some(key) => partitioner::partition_for_key(key, partitions) as usize,
            None => self.spread.fetch_add(1, Ordering::Relaxed) % partitions,
        }
    }
}

#[async_trait]
impl Publisher for Producer {
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        let deadline = Instant::now() + self.config.timeout;
        let room = self.queue.reserve(batch::size_of(&message)).ok_or(PublishError::QueueFull)?;
        let partitions = match self.topic.partitions() {
            0 => self.await_topic(deadline).await?,
            known => known,
        };
        let partition = self.partition_of(&message, partitions);
        let (reply, answer) = oneshot::channel();
        let (pending, sent) = Pending::new(message, deadline, reply, room);
        self.enqueue(pending, partition, partitions)?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PublishError::Stopping),
            Err(_) => Err(PublishError::Unavailable {
                reason: self.last_error(),
                possibly_written: sent.load(Ordering::Relaxed),
            }),
        }
    }
}

impl Producer {
    async fn await_topic(&self, deadline: Instant) -> Result<usize, PublishError> {
        match timeout_at(deadline, self.topic.clone().known_partitions()).await {
            Ok(partitions) if partitions > 0 => Ok(partitions),
            _ => Err(PublishError::Unavailable { reason: self.last_error(), possibly_written: false }),
        }
    }

    fn last_error(&self) -> String {
        let error = self.board.watch().borrow().kafka.error.clone();
        error.unwrap_or_else(|| "no answer from Kafka".to_owned())
    }
}
