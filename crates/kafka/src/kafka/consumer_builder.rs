//! A consumer of a typed topic, before it is started and after.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::TypedTopic;
use crate::{
    Consumer, ConsumerConfig, ConsumerCounts, DlqPublisher, Payload, Producer, ProducerConfig, RecordHandler,
    StatusRegistry, TopicConfig,
    dead_letter::{DlqReader, SequenceBounds, SequencedHandler, Waiting, WaitingCounts},
    event_handler::{BatchHandler, DecodingHandler},
    group::GroupDescription,
    interceptor::BatchInterceptor,
};

/// The longest wait of a stop for dead letters in flight.
const DLQ_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest look at the ends of the dead letters.
const DLQ_PATIENCE: Duration = Duration::from_secs(5);

/// A consumer that is not started yet.
#[derive(Debug)]
pub struct ConsumerBuilder<'a, P> {
    topic: &'a TypedTopic<P>,
    config: ConsumerConfig,
    dead_letters: TopicConfig,
    dlq_producer: ProducerConfig,
    /// The bounds of poison in order, and the function that makes its handler: a program that does not ask for it does not
    /// contain it.
    sequenced: Option<(SequenceBounds, Sequencing)>,
}

/// Puts the handler of poison in order before a consumer's own.
type Sequencing = fn(
    Arc<dyn RecordHandler>,
    DlqReader,
    DlqPublisher,
    SequenceBounds,
    Arc<StatusRegistry>,
    WaitingCounts,
) -> Arc<dyn RecordHandler>;

impl<'a, P: Payload> ConsumerBuilder<'a, P> {
    pub(super) fn new(topic: &'a TypedTopic<P>, config: ConsumerConfig) -> Self {
        let (dead_letters, dlq_producer) = (topic.config.dead_letters(), ProducerConfig::default());
        Self { topic, config, dead_letters, dlq_producer, sequenced: None }
    }
}

impl<P: Payload> ConsumerBuilder<'_, P> {
    /// Sets the dead letter topic and its producer. [`TopicConfig::dead_letters`] of the topic by default.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: TopicConfig, dlq_producer: ProducerConfig) -> Self {
        Self { dead_letters, dlq_producer, ..self }
    }

    /// Poison in order: once a record is poison, the later ones of its key go to the dead letter topic too, and wait there
    /// until it is redriven or dropped ([`crate::dead_letter::SequencedDeadLetters`]). Then they are processed, in order, before any
    /// later one. The other keys go on. Without this, which is the default, they are processed without the poison one.
    ///
    /// A key waits for as long as the dead letter topic keeps its letters ([`TopicConfig::retention`]): one that leaves
    /// counts as dropped. That topic needs as many partitions as this one, and the handler must leave its position to the
    /// group. Each batch has at most one record of a key. See [`SequencedHandler`].
    #[must_use]
    pub fn with_poison_in_order(self, bounds: SequenceBounds) -> Self {
        let sequencing: Sequencing = |handler, reader, dead_letters, bounds, registry, counts| {
            let handler = SequencedHandler::new(handler, reader, dead_letters, bounds, registry);
            Arc::new(handler.with_counts(counts))
        };
        Self { sequenced: Some((bounds, sequencing)), ..self }
    }

    /// Joins the group, and calls the handler with the topic's events until it is stopped. Follows both topics.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn start(self, handler: impl BatchHandler<P>) -> ConsumerHandle {
        let kafka = &self.topic.kafka;
        let (cluster, registry) = (Arc::clone(&kafka.cluster), Arc::clone(&kafka.registry));
        let dlq = kafka.follow(self.dead_letters);
        let dlq_producer =
            Producer::new(Arc::clone(&cluster), dlq.clone(), self.dlq_producer, Arc::clone(&registry));
        let dlq_producer = Arc::new(dlq_producer.not_required_for_readiness());
        let source = &self.topic.config.name;
        let dead_letters = DlqPublisher::new(Arc::clone(&dlq_producer) as _, source, &self.config.group_id);
        let intercepted = cluster.interceptor().map(|interceptor| BatchInterceptor {
            interceptor: Arc::clone(interceptor),
            topic: Arc::clone(&self.topic.name),
            group: self.config.group_id.as_str().into(),
        });
        let decoding = DecodingHandler::new(Arc::new(handler)).intercepted_by(intercepted);
        let (mut handler, waiting): (Arc<dyn RecordHandler>, _) =
            (Arc::new(decoding), WaitingCounts::default());
        if let Some((bounds, sequencing)) = self.sequenced {
            let reader = DlqReader::new(Arc::clone(&cluster), dlq, self.config.fetch_max_bytes, DLQ_PATIENCE);
            let (dead_letters, registry) = (dead_letters.clone(), Arc::clone(&registry));
            handler = sequencing(handler, reader, dead_letters, bounds, registry, waiting.clone());
        }
        let (topic, name) = (self.topic.follow(), Arc::clone(&self.topic.name));
        let group = Arc::new(GroupDescription::new(Arc::clone(&cluster), &self.config.group_id, &registry));
        let consumer = Consumer::start(cluster, topic, self.config, handler, dead_letters, registry);
        ConsumerHandle { topic: name, consumer, dlq_producer, group, waiting }
    }
}

/// A running consumer. If it is dropped without [`ConsumerHandle::stop`], it runs to the end of the process.
#[derive(Debug)]
pub struct ConsumerHandle {
    topic: Arc<str>,
    consumer: Consumer,
    dlq_producer: Arc<Producer>,
    group: Arc<GroupDescription>,
    waiting: WaitingCounts,
}

impl ConsumerHandle {
    /// The topic that it reads.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Its counters, which go on.
    pub fn counts(&self) -> Arc<ConsumerCounts> {
        self.consumer.counts()
    }

    /// The keys and letters that wait behind poison in its partitions, with [`ConsumerBuilder::with_poison_in_order`].
    pub fn waiting(&self) -> Waiting {
        self.waiting.total()
    }

    /// The description of its group.
    pub fn group_description(&self) -> &Arc<GroupDescription> {
        &self.group
    }

    /// The producer of its dead letters.
    pub fn dlq_producer(&self) -> &Arc<Producer> {
        &self.dlq_producer
    }

    /// Drains, commits and leaves the group.
    pub async fn stop(self) {
        self.consumer.stop().await;
        // The record of a dead letter that is still in flight is not done: it comes again.
        drop(timeout(DLQ_CLOSE_TIMEOUT, self.dlq_producer.close()).await);
    }
}
