//! Sends records, and waits until all in-sync replicas have them (`acks=all`).
//!
//! ```text
//! publish ─▶ buffer budget ─▶ partition by key ─▶ partition queue ─────▶ broker sink ─────────▶ Kafka
//!                                                 one batch in flight,   one request in flight,
//!                                                 the next accumulates   one batch a partition
//! ```
//!
//! A record is sent at once if no request to its broker is in flight. Otherwise it waits in the next batch. Under load the
//! next request also waits some milliseconds, as long as more records come. There is no linger to set. A partition has one
//! batch in flight, so its order is the order of the calls, also across retries. A batch that is sent again has the numbers
//! of the first attempt ([`sequences`]), so that no retry writes it twice.
//!
//! While the leader of a partition does not answer, its [`breaker`](crate::breaker) refuses records for that partition at once.

mod accumulator;
mod batch;
mod broker_sink;
mod buffer_budget;
mod failure;
mod partition_queue;
mod producer_ids;
mod sequences;
mod writer;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tokio::{
    sync::{
        mpsc::{self, error::SendError},
        oneshot,
    },
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Cluster, Delivery, Message, OnAcknowledgement, ProducerConfig, ProducerMetrics, PublishError, Publisher,
    Receipt, StatusRegistry, breaker::Gate, counts::ProducerCounts, partitioner, topic::Topic,
    wire::EncodedRecord,
};
use batch::PendingRecord;
use broker_sink::BrokerSinks;
use buffer_budget::{BufferBudget, Permit};
use partition_queue::PartitionQueue;
use producer_ids::ProducerIds;

/// Sends records to one topic. A drop gives up the records in the queue: call [`Producer::close`] before.
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    topic: Topic,
    config: ProducerConfig,
    registry: Arc<StatusRegistry>,
    budget: Arc<BufferBudget>,
    sinks: Arc<BrokerSinks>,
    /// `None` without idempotence.
    ids: Option<Arc<ProducerIds>>,
    queues: Mutex<Queues>,
    spread: AtomicUsize,
    counts: Arc<ProducerCounts>,
    required_for_readiness: bool,
    /// The end of the wait for a topic that is not known yet; set when the first message waits for it.
    topic_known_by: OnceLock<Instant>,
}

/// The partition queues and their tasks.
#[derive(Debug, Default)]
struct Queues {
    /// The queue of each partition; `None` once the producer is closed.
    senders: Option<Vec<QueueHandle>>,
    tasks: JoinSet<()>,
}

/// The entry of a partition queue.
#[derive(Debug)]
struct QueueHandle {
    gate: Arc<Gate>,
    sender: mpsc::UnboundedSender<PendingRecord>,
}

impl Producer {
    /// A producer of that topic. It connects when there is something to send.
    pub fn new(
        cluster: Arc<Cluster>,
        topic: Topic,
        config: ProducerConfig,
        registry: Arc<StatusRegistry>,
    ) -> Self {
        let budget = Arc::new(BufferBudget::new(config.queue_records, config.queue_bytes));
        let queues = Queues { senders: Some(Vec::new()), tasks: JoinSet::new() };
        let sinks =
            BrokerSinks::new(Arc::clone(&cluster), Arc::clone(topic.name()), Arc::clone(&budget)).into();
        let ids = config.idempotence.then(|| ProducerIds::new(Arc::clone(&cluster)).into());
        Self {
            cluster,
            topic,
            config,
            registry,
            budget,
            sinks,
            ids,
            queues: Mutex::new(queues),
            spread: AtomicUsize::new(0),
            counts: Arc::default(),
            required_for_readiness: true,
            topic_known_by: OnceLock::new(),
        }
    }

    /// [`Status::is_ready`](crate::Status::is_ready) does not depend on whether Kafka takes its records: no request
    /// waits for a dead letter.
    #[must_use]
    pub(super) fn not_required_for_readiness(self) -> Self {
        Self { required_for_readiness: false, ..self }
    }

    /// The topic that it sends to.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Its counters and the size of its queue.
    pub fn metrics(&self) -> ProducerMetrics {
        let (queued_records, queued_bytes) = self.budget.held();
        ProducerMetrics {
            records: self.counts.records.get(),
            batches: self.counts.batches.get(),
            retries: self.counts.retries.get(),
            throttled: self.counts.throttled.get(),
            errors: self.counts.errors(),
            queued_records,
            queued_bytes,
        }
    }

    /// Takes no more records, and waits until those in the queue are acknowledged or out of time.
    pub async fn close(&self) {
        let mut tasks = {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.senders = None;
            std::mem::take(&mut queues.tasks)
        };
        while tasks.join_next().await.is_some() {}
    }

    /// Appends the record to the queue of its partition.
    fn enqueue_in(
        &self,
        pending: PendingRecord,
        partition: usize,
        partitions: usize,
    ) -> Result<(), PublishError> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let Queues { senders, tasks } = &mut *queues;
        let senders = senders.as_mut().ok_or(PublishError::Stopping)?;
        while senders.len() < partitions {
            senders.push(self.open_queue(senders.len(), self.ids.clone(), tasks));
        }
        if !senders[partition].gate.admits() {
            return Err(senders[partition].gate.refusal());
        }
        let Err(SendError(pending)) = senders[partition].sender.send(pending) else { return Ok(()) };
        // The queue's task has panicked, which answered all its records.
        log::error!("writing to {}/{partition} broke down and begins anew", self.topic.name());
        // An id of its own: nobody knows which numbers were sent with the other.
        let id = self.ids.as_ref().map(|_| ProducerIds::new(Arc::clone(&self.cluster)).into());
        senders[partition] = self.open_queue(partition, id, tasks);
        senders[partition].sender.send(pending).map_err(|_| PublishError::Stopping)
    }

    fn open_queue(
        &self,
        partition: usize,
        ids: Option<Arc<ProducerIds>>,
        tasks: &mut JoinSet<()>,
    ) -> QueueHandle {
        let (sender, receiver) = mpsc::unbounded_channel();
        let gate = Arc::<Gate>::default();
        let queue = PartitionQueue::new(self, partition as i32, ids, Arc::clone(&gate), receiver);
        tasks.spawn(queue.run());
        QueueHandle { gate, sender }
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
    async fn publish(&self, mut message: Message) -> Result<Receipt, PublishError> {
        let intercepted = self.intercept(&mut message);
        let permit = self.budget.try_acquire(batch::size_of(&message)).ok_or(PublishError::QueueFull);
        self.append(message, permit).await.intercepted_by(intercepted).await
    }

    async fn enqueue(&self, message: Message) -> Delivery {
        self.append_in_turn(message).await
    }
}

impl Producer {
    /// [`Publisher::enqueue`], without the allocation for each record that a call through the trait object costs.
    pub(super) async fn append_in_turn(&self, mut message: Message) -> Delivery {
        let intercepted = self.intercept(&mut message);
        let bytes = batch::size_of(&message);
        let permit = match self.budget.try_acquire_politely(bytes) {
            Some(permit) => Ok(permit),
            // Boxed: usually there is room, and no timer is made for it.
            None => Box::pin(timeout(self.config.timeout, self.budget.acquire(bytes)))
                .await
                .map_err(|_| PublishError::QueueFull),
        };
        self.append(message, permit).await.intercepted_by(intercepted)
    }

    fn intercept(&self, message: &mut Message) -> Option<OnAcknowledgement> {
        self.cluster.interceptor()?.on_send(self.topic.name(), message)
    }

    async fn append(&self, message: Message, permit: Result<Permit, PublishError>) -> Delivery {
        match self.try_append(message, permit).await {
            Ok(answer) => Delivery::queued(answer, Arc::clone(&self.counts)),
            Err(error) => {
                self.counts.error(&error);
                Delivery::done(Err(error))
            }
        }
    }

    async fn try_append(
        &self,
        message: Message,
        permit: Result<Permit, PublishError>,
    ) -> Result<oneshot::Receiver<Result<Receipt, PublishError>>, PublishError> {
        let permit = permit?;
        let deadline = Instant::now() + self.config.timeout;
        let partitions = match self.topic.partitions() {
            // Boxed: it happens once, and its timer would make room for itself in every request.
            0 => Box::pin(self.await_topic()).await?,
            known => known,
        };
        let partition = self.partition_of(&message, partitions);
        // The queue answers at the deadline.
        let (reply, answer) = oneshot::channel();
        // Encoded here, not by the queue: so the message is freed by the thread that made it, which is cheapest.
        let record = EncodedRecord::new(&message);
        self.enqueue_in(PendingRecord::new(record, deadline, reply, permit), partition, partitions)?;
        Ok(answer)
    }

    /// Waits for a topic that is not known yet. All messages share one wait: were each to wait for itself, a thousand that
    /// are appended one after the other would wait a thousand time-outs.
    async fn await_topic(&self) -> Result<usize, PublishError> {
        let deadline = *self.topic_known_by.get_or_init(|| Instant::now() + self.config.timeout);
        let mut topic = self.topic.clone();
        let known = async {
            tokio::select! {
                biased;
                known = topic.known_partitions() => known,
                () = self.cluster.until_unreachable() => 0,
            }
        };
        match timeout_at(deadline, known).await {
            Ok(partitions) if partitions > 0 => Ok(partitions),
            _ => {
                let error = self.registry.error_of(&Topic::component(self.topic.name()));
                let reason = error.unwrap_or_else(|| "the topic is not known yet".to_owned());
                Err(PublishError::Unavailable { reason, possibly_written: false })
            }
        }
    }
}
