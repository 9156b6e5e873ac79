//! State by the log: a view that every instance folds from the whole of a topic, and writes that the log's
//! order decides.
//!
//! ```text
//! append(event, version) ─▶ producer ═▶ topic ═▶ follower of each partition ─▶ Replica: valid or void
//!          ▲                                                                        │
//!          └─────────── valid or void: the first appearance of this event ◀─────────┘
//! ```
//!
//! An event says which version of its entity it makes. It is valid where that version is the next one when its
//! turn comes in the log, and void otherwise: of any number of events that were written on the same view, the
//! first in the log is valid. Each instance reads the same log, and comes to the same answer.
//!
//! It rests on what does not change below it: each entity's events are in one partition, so the number of
//! partitions is fixed and compaction is off; nothing is ever deleted; what is acknowledged is never lost
//! (acks=all, no unclean election). [`Ledger::start`] checks what can be checked.

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
use append::Awaited;
use follower::Follower;
pub use replica::{Fate, Fold, Replica, Versioned};
pub use requirements::Unfit;
pub use status::{FollowedPartition, LedgerStatus};

use status::Places;

/// A view of a whole topic, kept by this instance, and the way to write to it.
pub struct Ledger<F: Fold> {
    shared: Arc<Shared<F>>,
    topic: TypedTopic<F::Event>,
    producer: TypedProducer<F::Event>,
    ends: EndOffsets,
    stop: CancellationToken,
    following: JoinSet<()>,
    fitness: watch::Receiver<Option<Unfit>>,
}

/// What the followers of all partitions share.
struct Shared<F: Fold> {
    replica: RwLock<Replica<F>>,
    awaited: Awaited,
    places: Places,
}

impl<F: Fold> Ledger<F> {
    /// Follows the topic from its beginning, in exactly so many partitions as the configuration says: more are
    /// ignored. [`Ledger::unfit`] tells when the topic cannot be used.
    pub fn start(kafka: &Kafka, config: TopicConfig, producer: ProducerConfig) -> Self {
        let partitions = config.partitions;
        let topic = kafka.topic::<F::Event>(config).with_max_partitions(partitions as usize);
        let producer = topic.producer(producer);
        let shared = Arc::new(Shared {
            replica: RwLock::new(Replica::new(partitions as usize)),
            awaited: Awaited::default(),
            places: Places::new(topic.handle().name(), partitions),
        });
        let ends = EndOffsets::new(kafka.cluster(), topic.handle().name(), partitions);
        let stop = CancellationToken::new();
        let (unfit, fitness) = watch::channel(None);
        let mut following = JoinSet::new();
        let follower = Follower::new(&topic, Arc::clone(&shared), stop.clone());
        following.spawn(follower.follow_all(unfit));
        Self { shared, topic, producer, ends, stop, following, fitness }
    }

    /// Looks at the view, which stands still meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&F) -> T) -> T {
        look(self.shared.replica.read().unwrap_or_else(PoisonError::into_inner).view())
    }

    /// The topic that it is folded from.
    pub fn topic(&self) -> &TypedTopic<F::Event> {
        &self.topic
    }

    /// What it writes through.
    pub fn producer(&self) -> &TypedProducer<F::Event> {
        &self.producer
    }

    /// How far the view is.
    pub fn status(&self) -> LedgerStatus {
        let replica = self.shared.replica.read().unwrap_or_else(PoisonError::into_inner);
        self.shared.places.status(&replica)
    }

    /// Whether the view has been as far as the log's end since the start: what it says is no more out of date
    /// than a reader of the log is.
    pub fn is_complete(&self) -> bool {
        self.shared.places.is_complete()
    }

    /// Waits until the view has everything that was acknowledged before this was called, and can be read.
    ///
    /// # Errors
    ///
    /// It has not within twice as long as any one call to a broker may take: a partition is away, as a rule.
    pub async fn abreast(&self) -> Result<(), TransientError> {
        let topic = self.topic.handle().name();
        let reached = async {
            let ends = self.ends.now().await.map_err(|error| error.to_string())?;
            self.shared.places.reached(&ends).await;
            Ok(())
        };
        let within = self.topic.kafka().cluster().request_timeout() * 2;
        let reached = timeout(within, reached).await;
        reached.unwrap_or_else(|_| Err(format!("it is not read that far after {within:?}"))).map_err(
            |reason| TransientError(format!("topic {topic}: where it ends now is not known here: {reason}")),
        )
    }

    /// Resolves when the topic turns out not to be fit to keep state in; never, while it is.
    pub async fn unfit(&self) -> Unfit {
        let mut fitness = self.fitness.clone();
        match fitness.wait_for(Option::is_some).await.map(|unfit| unfit.clone()) {
            Ok(Some(unfit)) => unfit,
            _ => std::future::pending().await,
        }
    }

    /// Takes no more writes, waits for those under way, and reads no further.
    pub async fn stop(&self) {
        self.producer.close().await;
        self.stop.cancel();
    }
}

/// A ledger of anything, for who asks how far it is.
pub trait Followed: Send + Sync + 'static {
    /// How far the view is.
    fn status(&self) -> LedgerStatus;
}

impl<F: Fold> Followed for Ledger<F> {
    fn status(&self) -> LedgerStatus {
        Ledger::status(self)
    }
}

impl<F: Fold> Drop for Ledger<F> {
    fn drop(&mut self) {
        self.stop.cancel();
        self.following.detach_all();
    }
}

impl<F: Fold> fmt::Debug for Ledger<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("topic", &self.topic).finish_non_exhaustive()
    }
}
