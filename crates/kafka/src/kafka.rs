//! The library's face: a cluster, its topics by what is in them, and who writes and reads them.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    Cluster, ClusterConfig, Consumer, ConsumerConfig, ConsumerCounts, Context, DlqPublisher, Envelope,
    Message, Payload, Producer, ProducerConfig, PublishError, Publisher, Receipt, Status, StatusRegistry,
    Topic, TopicConfig,
    event_handler::{BatchHandler, DecodingHandler},
    group::GroupDescription,
};

/// How often to look for new partitions, unless told otherwise.
const METADATA_MAX_AGE: Duration = Duration::from_secs(30);

/// How long dead letters that are on their way get at a stop.
const DLQ_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A cluster, as one process speaks to it. Cloned handles are the same.
#[derive(Debug, Clone)]
pub struct Kafka {
    cluster: Arc<Cluster>,
    registry: Arc<StatusRegistry>,
    source: Arc<str>,
    metadata_max_age: Duration,
}

impl Kafka {
    /// Makes no connection yet. Events name the client's id as their source: `/highwater`.
    pub fn new(config: ClusterConfig) -> Self {
        let source = format!("/{}", config.client_id).into();
        Self {
            cluster: Arc::new(Cluster::new(config)),
            registry: Arc::new(StatusRegistry::new()),
            source,
            metadata_max_age: METADATA_MAX_AGE,
        }
    }

    /// How often to look whether topics have new partitions.
    #[must_use]
    pub fn with_metadata_max_age(self, metadata_max_age: Duration) -> Self {
        Self { metadata_max_age, ..self }
    }

    /// Who its events are from: a URI reference, CloudEvents' `source`.
    #[must_use]
    pub fn with_source(self, source: &str) -> Self {
        Self { source: source.into(), ..self }
    }

    /// A topic of such events, which is created when it is missing.
    pub fn topic<P: Payload>(&self, config: TopicConfig) -> TypedTopic<P> {
        TypedTopic { handle: self.follow(config.clone()), config, kafka: self.clone(), payload: PhantomData }
    }

    /// What is known of the cluster and the group, now and as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.registry.watch()
    }

    /// Where everything that speaks to the cluster says how it is.
    pub fn registry(&self) -> &Arc<StatusRegistry> {
        &self.registry
    }

    /// The way to the brokers.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    fn with_own_status(&self) -> Self {
        Self { registry: Arc::new(StatusRegistry::new()), ..self.clone() }
    }

    fn follow(&self, config: TopicConfig) -> Topic {
        Topic::follow(Arc::clone(&self.cluster), config, self.metadata_max_age, Arc::clone(&self.registry))
    }
}

/// A topic, with what is in it: its name, and the type of its events, which says their key and their JSON.
pub struct TypedTopic<P> {
    kafka: Kafka,
    handle: Topic,
    config: TopicConfig,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> TypedTopic<P> {
    /// The topic itself: its name, and how many partitions it has.
    pub fn handle(&self) -> &Topic {
        &self.handle
    }

    /// The same topic, of which no more than so many partitions count.
    #[must_use]
    pub fn with_max_partitions(self, most: usize) -> Self {
        Self { handle: self.handle.with_max_partitions(most), ..self }
    }

    /// The same topic, for who reads it in a group beside another of the same process: how that group is stands on a
    /// registry of its own.
    #[must_use]
    pub fn with_own_status(&self) -> Self {
        Self { kafka: self.kafka.with_own_status(), ..self.clone() }
    }

    /// What it was asked to be.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// The cluster that it is on.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Writes to it. Connects when there is something to send.
    pub fn producer(&self, config: ProducerConfig) -> TypedProducer<P> {
        let (cluster, registry) = (Arc::clone(&self.kafka.cluster), Arc::clone(&self.kafka.registry));
        let producer = Arc::new(Producer::new(cluster, self.handle.clone(), config, registry));
        TypedProducer {
            producer: Some(Arc::clone(&producer)),
            ..TypedProducer::new(producer, &self.kafka.source)
        }
    }

    /// Reads it as a member of a group, once a handler is given.
    pub fn consumer(&self, config: ConsumerConfig) -> ConsumerBuilder<'_, P> {
        let dead_letters = self.config.dead_letters();
        ConsumerBuilder { topic: self, config, dead_letters, dlq_producer: ProducerConfig::default() }
    }
}

impl<P> Clone for TypedTopic<P> {
    fn clone(&self) -> Self {
        let Self { kafka, handle, config, payload } = self;
        Self { kafka: kafka.clone(), handle: handle.clone(), config: config.clone(), payload: *payload }
    }
}

impl<P> fmt::Debug for TypedTopic<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedTopic").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Writes events of one type to one topic.
pub struct TypedProducer<P> {
    publisher: Arc<dyn Publisher>,
    /// `None` over a publisher of somebody else's.
    producer: Option<Arc<Producer>>,
    source: Arc<str>,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> TypedProducer<P> {
    /// Writes through that publisher, such as a test's own.
    pub fn new(publisher: Arc<dyn Publisher>, source: &str) -> Self {
        Self { publisher, producer: None, source: source.into(), payload: PhantomData }
    }

    /// Sends an event; resolves when all in-sync replicas have it.
    ///
    /// # Errors
    ///
    /// It was not acknowledged; the error says whether it may have been written all the same.
    pub async fn send(&self, event: P) -> Result<Receipt, PublishError> {
        self.send_in(&Context::default(), event).await
    }

    /// Sends an event that belongs to a request, or follows from another event.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::send`].
    pub async fn send_in(&self, context: &Context, event: P) -> Result<Receipt, PublishError> {
        let headers = if P::SELF_DESCRIBING && context.is_empty() {
            Vec::new()
        } else {
            self.envelope(context, &event).headers()
        };
        self.publish(headers, event).await
    }

    /// What an event is going to be sent in; its id is known before it is sent.
    pub fn envelope(&self, context: &Context, event: &P) -> Envelope {
        Envelope::new(event, &self.source, context)
    }

    /// Sends an event in an envelope that was made for it.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::send`].
    pub async fn send_enveloped(&self, envelope: &Envelope, event: P) -> Result<Receipt, PublishError> {
        self.publish(envelope.headers(), event).await
    }

    async fn publish(&self, headers: Vec<(String, Vec<u8>)>, event: P) -> Result<Receipt, PublishError> {
        let key = event.key().into_owned().into_bytes();
        let value = event.write().map_err(|malformed| PublishError::Refused(malformed.0))?;
        let message = Message {
            key: Some(key),
            value: Some(value),
            headers,
            timestamp: chrono::Utc::now(),
            partition: None,
        };
        self.publisher.publish(message).await
    }

    /// What records go through, whatever is in them.
    pub fn publisher(&self) -> &Arc<dyn Publisher> {
        &self.publisher
    }

    /// The producer that it sends through; `None` where that is somebody else's.
    pub fn producer(&self) -> Option<&Arc<Producer>> {
        self.producer.as_ref()
    }

    /// Takes nothing more, and waits until what is queued is acknowledged or out of time.
    pub async fn close(&self) {
        if let Some(producer) = &self.producer {
            producer.close().await;
        }
    }
}

impl<P> Clone for TypedProducer<P> {
    fn clone(&self) -> Self {
        Self {
            publisher: Arc::clone(&self.publisher),
            producer: self.producer.clone(),
            source: Arc::clone(&self.source),
            payload: PhantomData,
        }
    }
}

impl<P> fmt::Debug for TypedProducer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProducer").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A consumer that is not started yet.
#[derive(Debug)]
pub struct ConsumerBuilder<'a, P> {
    topic: &'a TypedTopic<P>,
    config: ConsumerConfig,
    dead_letters: TopicConfig,
    dlq_producer: ProducerConfig,
}

impl<P: Payload> ConsumerBuilder<'_, P> {
    /// Where records go that can never be processed, and how; else to the topic's name with `.dlq` after it.
    #[must_use]
    pub fn dead_letters(self, dead_letters: TopicConfig, dlq_producer: ProducerConfig) -> Self {
        Self { dead_letters, dlq_producer, ..self }
    }

    /// Joins the group and hands the topic's events to the handler, until it is stopped.
    pub fn start(self, handler: impl BatchHandler<P>) -> ConsumerHandle {
        let kafka = &self.topic.kafka;
        let (cluster, registry) = (Arc::clone(&kafka.cluster), Arc::clone(&kafka.registry));
        let topic = kafka.follow(self.dead_letters);
        let dlq_producer =
            Producer::new(Arc::clone(&cluster), topic, self.dlq_producer, Arc::clone(&registry));
        let dlq_producer = Arc::new(dlq_producer.not_required_for_readiness());
        let source = &self.topic.config.name;
        let dead_letters = DlqPublisher::new(Arc::clone(&dlq_producer) as _, source, &self.config.group_id);
        let handler = Arc::new(DecodingHandler::new(Arc::new(handler)));
        let topic = self.topic.handle.clone();
        let name = Arc::clone(topic.name());
        let group = Arc::new(GroupDescription::new(Arc::clone(&cluster), &self.config.group_id, &registry));
        let consumer = Consumer::start(cluster, topic, self.config, handler, dead_letters, registry);
        ConsumerHandle { topic: name, consumer, dlq_producer, group }
    }
}

/// A consumer at work, with its way to the dead letters. Dropped without [`ConsumerHandle::stop`], it goes on to the
/// end of the process.
#[derive(Debug)]
pub struct ConsumerHandle {
    topic: Arc<str>,
    consumer: Consumer,
    dlq_producer: Arc<Producer>,
    group: Arc<GroupDescription>,
}

impl ConsumerHandle {
    /// The topic that it reads.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// What it has done so far, counted on.
    pub fn counts(&self) -> Arc<ConsumerCounts> {
        self.consumer.counts()
    }

    /// Who else is in its group.
    pub fn group_description(&self) -> &Arc<GroupDescription> {
        &self.group
    }

    /// What its dead letters are sent through.
    pub fn dlq_producer(&self) -> &Arc<Producer> {
        &self.dlq_producer
    }

    /// Drains, commits and leaves the group.
    pub async fn stop(self) {
        self.consumer.stop().await;
        // Dead letters that are still on their way are of records that are not done.
        drop(timeout(DLQ_CLOSE_TIMEOUT, self.dlq_producer.close()).await);
    }
}
