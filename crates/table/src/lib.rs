//! State in the log: every instance builds the same table from a whole topic, and the order of the log decides
//! which writes count.
//!
//! ```text
//! append(event, version) ─▶ producer ═▶ topic ═▶ follower of each partition ─▶ Replica: applied or rejected
//!          ▲                                                                        │
//!          └──────────────── the outcome of this event's first appearance ◀─────────┘
//! ```
//!
//! An event names the version of its entity that it makes. It is applied if that version is the next one when the log is
//! read, and rejected otherwise. Among several events that were written on the same state, the first in the log is applied.
//! Each instance reads the same log and comes to the same outcomes.
//!
//! This holds because the layers below do not change: each entity's events are in one partition, so the number of
//! partitions is fixed and compaction is off; nothing is ever deleted; an acknowledged event is never lost (acks=all,
//! no unclean election). [`EventSourcedTable::start`] checks what can be checked.

#![forbid(unsafe_code)]

mod append;
mod follower;
mod replica;
mod requirements;
mod status;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use highwater_kafka::{
    EndOffsets, Kafka, ProducerConfig, TopicConfig, TransientError, TypedProducer, TypedTopic,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

pub use append::AppendError;
use append::PendingAppends;
use follower::Follower;
pub use replica::{EventOutcome, Projection, Replica, Versioned};
pub use requirements::InvalidTopic;
pub use status::{TablePartition, TableStatus};

use status::Progress;

/// The state of a whole topic, kept by this instance, and the way to write to it.
pub struct EventSourcedTable<P: Projection> {
    shared: Arc<Shared<P>>,
    topic: TypedTopic<P::Event>,
    producer: TypedProducer<P::Event>,
    ends: EndOffsets,
    stop: CancellationToken,
    following: JoinSet<()>,
    invalid: watch::Receiver<Option<InvalidTopic>>,
}

/// The state that the followers of all partitions share.
struct Shared<P: Projection> {
    replica: RwLock<Replica<P>>,
    pending: PendingAppends,
    progress: Progress,
}

impl<P: Projection> EventSourcedTable<P> {
    /// Follows the topic from its beginning, in exactly as many partitions as `config` says; further partitions are
    /// ignored. [`EventSourcedTable::invalid_topic`] resolves when the topic cannot be used.
    pub fn start(kafka: &Kafka, config: TopicConfig, producer: ProducerConfig) -> Self {
        let partitions = config.partitions;
        let topic = kafka.topic::<P::Event>(config).with_max_partitions(partitions as usize);
        let producer = topic.producer(producer);
        let shared = Arc::new(Shared {
            replica: RwLock::new(Replica::new(partitions as usize)),
            pending: PendingAppends::default(),
            progress: Progress::new(topic.name(), partitions),
        });
        let ends = EndOffsets::new(kafka.cluster(), topic.name(), partitions);
        let stop = CancellationToken::new();
        let (found_invalid, invalid) = watch::channel(None);
        let mut following = JoinSet::new();
        let follower = Follower::new(&topic, Arc::clone(&shared), stop.clone());
        following.spawn(follower.follow_all(found_invalid));
        Self { shared, topic, producer, ends, stop, following, invalid }
    }

    /// Reads the state, which does not change meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&P) -> T) -> T {
        read(self.shared.replica.read().unwrap_or_else(PoisonError::into_inner).projection())
    }

    /// The topic that the table reads.
    pub fn topic(&self) -> &TypedTopic<P::Event> {
        &self.topic
    }

    /// The producer that the table writes through.
    pub fn producer(&self) -> &TypedProducer<P::Event> {
        &self.producer
    }

    /// The progress of the table in the topic.
    pub fn status(&self) -> TableStatus {
        let replica = self.shared.replica.read().unwrap_or_else(PoisonError::into_inner);
        self.shared.progress.status(&replica)
    }

    /// Whether the table has reached the end of the log once since the start. From then on it is as current as any
    /// reader of the log.
    pub fn is_complete(&self) -> bool {
        self.shared.progress.is_complete()
    }

    /// Waits until the table has every event that was acknowledged and can be read at the time of the call.
    ///
    /// # Errors
    ///
    /// The table has not read so far within twice the request time-out: as a rule a partition has no leader.
    pub async fn caught_up(&self) -> Result<(), TransientError> {
        let topic = self.topic.name();
        let reached = async {
            let ends = self.ends.fetch().await.map_err(|error| error.to_string())?;
            self.shared.progress.reached(&ends).await;
            Ok(())
        };
        let within = self.topic.kafka().cluster().request_timeout() * 2;
        let reached = timeout(within, reached).await;
        reached.unwrap_or_else(|_| Err(format!("it is not read that far after {within:?}"))).map_err(
            |reason| {
                TransientError::new(format!("topic {topic}: where it ends now is not known here: {reason}"))
            },
        )
    }

    /// Resolves when the topic turns out to be unable to keep state; never, as long as it is able.
    pub async fn invalid_topic(&self) -> InvalidTopic {
        let mut invalid = self.invalid.clone();
        match invalid.wait_for(Option::is_some).await.map(|invalid| invalid.clone()) {
            Ok(Some(invalid)) => invalid,
            _ => std::future::pending().await,
        }
    }

    /// Refuses further writes, waits for those in flight, and stops reading.
    pub async fn stop(&self) {
        self.producer.close().await;
        self.stop.cancel();
    }
}

/// The status of a table, whatever its projection.
pub trait TableStatusSource: Send + Sync + 'static {
    /// The progress of the table in its topic.
    fn status(&self) -> TableStatus;
}

impl<P: Projection> TableStatusSource for EventSourcedTable<P> {
    fn status(&self) -> TableStatus {
        EventSourcedTable::status(self)
    }
}

impl<P: Projection> Drop for EventSourcedTable<P> {
    fn drop(&mut self) {
        self.stop.cancel();
        self.following.detach_all();
    }
}

impl<P: Projection> fmt::Debug for EventSourcedTable<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSourcedTable").field("topic", &self.topic).finish_non_exhaustive()
    }
}
