//! The entry point: a cluster, its typed topics, and their producers and consumers.

mod consumer_builder;

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Cluster, ClusterConfig, ConfigError, ConsumerConfig, Context, Delivery, Envelope, Message, Payload,
    Producer, ProducerConfig, PublishError, Publisher, Receipt, Status, StatusRegistry, Topic, TopicConfig,
};
pub use consumer_builder::{ConsumerBuilder, ConsumerHandle};

/// The time between looks for new partitions, by default.
const METADATA_MAX_AGE: Duration = Duration::from_secs(30);

/// A cluster, as one process sees it. Clones share connections and status.
#[derive(Debug, Clone)]
pub struct Kafka {
    cluster: Arc<Cluster>,
    registry: Arc<StatusRegistry>,
    source: Arc<str>,
    metadata_max_age: Duration,
}

impl Kafka {
    /// The cluster of that configuration. Does not connect yet.
    ///
    /// # Errors
    ///
    /// There is no bootstrap address.
    pub fn new(config: ClusterConfig) -> Result<Self, ConfigError> {
        let source = format!("/{}", config.client_id).into();
        Ok(Self {
            cluster: Arc::new(Cluster::new(config)?),
            registry: Arc::new(StatusRegistry::new()),
            source,
            metadata_max_age: METADATA_MAX_AGE,
        })
    }

    /// Sets the time between looks for new partitions of a topic. 30 s by default.
    #[must_use]
    pub fn with_metadata_max_age(self, metadata_max_age: Duration) -> Self {
        Self { metadata_max_age, ..self }
    }

    /// Sets the `source` of its events (CloudEvents): a URI reference. The client id after a slash by default.
    #[must_use]
    pub fn with_source(self, source: &str) -> Self {
        Self { source: source.into(), ..self }
    }

    /// A topic with events of type `P`. The cluster is not asked before the topic has a producer or a consumer: see
    /// [`TypedTopic::follow`].
    pub fn topic<P: Payload>(&self, config: TopicConfig) -> TypedTopic<P> {
        TypedTopic {
            kafka: self.clone(),
            name: config.name.as_str().into(),
            config,
            max_partitions: usize::MAX,
            followed: Arc::default(),
            payload: PhantomData,
        }
    }

    /// The status of the cluster and of the consumer's group, now and as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.registry.watch()
    }

    /// The registry to which the components that use the cluster report their errors.
    pub fn registry(&self) -> &Arc<StatusRegistry> {
        &self.registry
    }

    /// The cluster below.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    fn follow(&self, config: TopicConfig) -> Topic {
        Topic::follow(Arc::clone(&self.cluster), config, self.metadata_max_age, Arc::clone(&self.registry))
    }
}

/// A topic with events of type `P`. Clones are the same topic.
pub struct TypedTopic<P> {
    kafka: Kafka,
    name: Arc<str>,
    config: TopicConfig,
    max_partitions: usize,
    followed: Arc<OnceLock<Topic>>,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> TypedTopic<P> {
    /// The topic's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Creates the topic if it is missing, and looks for new partitions from then on, in the background, until all
    /// handles are dropped. The first call begins it, and so does the first producer or consumer.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn follow(&self) -> Topic {
        let followed = self.followed.get_or_init(|| self.kafka.follow(self.config.clone()));
        followed.clone().with_max_partitions(self.max_partitions)
    }

    /// The same topic, of which only the first `most` partitions count.
    #[must_use]
    pub fn with_max_partitions(self, most: usize) -> Self {
        Self { max_partitions: most, ..self }
    }

    /// The same topic, whose consumer reports to a status of its own: for a process with a consumer for each of several
    /// topics in one group.
    #[must_use]
    pub fn with_own_status(&self) -> Self {
        let kafka = Kafka { registry: Arc::new(StatusRegistry::new()), ..self.kafka.clone() };
        Self { kafka, ..self.clone() }
    }

    /// The same topic, for a consumer that decodes its records as `Q`: where the topic has more than events of type `P`.
    #[must_use]
    pub fn read_as<Q: Payload>(&self) -> TypedTopic<Q> {
        self.of_type()
    }

    /// The configuration that it was made with.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// The cluster that it is on.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// A producer of the topic, which connects when there is something to send. Follows the topic.
    pub fn producer(&self, config: ProducerConfig) -> TypedProducer<P> {
        let (cluster, registry) = (Arc::clone(&self.kafka.cluster), Arc::clone(&self.kafka.registry));
        let producer = Arc::new(Producer::new(cluster, self.follow(), config, registry));
        TypedProducer {
            producer: Some(Arc::clone(&producer)),
            ..TypedProducer::new(producer, &self.kafka.source)
        }
    }

    /// A consumer of the topic, which begins with [`ConsumerBuilder::start`].
    pub fn consumer(&self, config: ConsumerConfig) -> ConsumerBuilder<'_, P> {
        ConsumerBuilder::new(self, config)
    }
}

impl<P> TypedTopic<P> {
    /// The same topic, with another type of events.
    fn of_type<Q>(&self) -> TypedTopic<Q> {
        TypedTopic {
            kafka: self.kafka.clone(),
            name: Arc::clone(&self.name),
            config: self.config.clone(),
            max_partitions: self.max_partitions,
            followed: Arc::clone(&self.followed),
            payload: PhantomData,
        }
    }
}

impl<P> Clone for TypedTopic<P> {
    fn clone(&self) -> Self {
        self.of_type()
    }
}

impl<P> fmt::Debug for TypedTopic<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedTopic").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Sends events of type `P` to a topic. Clones share the producer.
pub struct TypedProducer<P> {
    publisher: Arc<dyn Publisher>,
    producer: Option<Arc<Producer>>,
    source: Arc<str>,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> TypedProducer<P> {
    /// Sends through that publisher, which may be a test's. `source` is CloudEvents' `source`.
    pub fn new(publisher: Arc<dyn Publisher>, source: &str) -> Self {
        Self { publisher, producer: None, source: source.into(), payload: PhantomData }
    }

    /// Sends an event, and waits until all in-sync replicas have it.
    ///
    /// # Errors
    ///
    /// It was not acknowledged. The error says whether it may have been written all the same.
    pub async fn send(&self, event: P) -> Result<Receipt, PublishError> {
        self.send_in(&Context::default(), event).await
    }

    /// As [`TypedProducer::send`], with the correlation of a request or the cause of another event.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::send`].
    pub async fn send_in(&self, context: &Context, event: P) -> Result<Receipt, PublishError> {
        self.publish(self.headers(context, &event), event).await
    }

    /// An envelope for the event, so that its id is known before it is sent.
    pub fn envelope(&self, context: &Context, event: &P) -> Envelope {
        Envelope::new(event, &self.source, context)
    }

    /// Sends an event in its envelope.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::send`].
    pub async fn send_enveloped(&self, envelope: &Envelope, event: P) -> Result<Receipt, PublishError> {
        self.publish(envelope.headers(), event).await
    }

    /// As [`TypedProducer::send_in`], but returns as soon as the event has its place in the queue, for which it waits:
    /// events that are enqueued one after the other are written in that order. See [`Publisher::enqueue`].
    pub async fn enqueue_in(&self, context: &Context, event: P) -> Delivery {
        let message = match self.message(self.headers(context, &event), event) {
            Ok(message) => message,
            Err(error) => return Delivery::done(Err(error)),
        };
        match &self.producer {
            Some(producer) => producer.append_in_turn(message).await,
            None => self.publisher.enqueue(message).await,
        }
    }

    fn headers(&self, context: &Context, event: &P) -> Vec<(String, Vec<u8>)> {
        match P::SELF_DESCRIBING && context.is_empty() {
            true => Vec::new(),
            false => self.envelope(context, event).headers(),
        }
    }

    async fn publish(&self, headers: Vec<(String, Vec<u8>)>, event: P) -> Result<Receipt, PublishError> {
        self.publisher.publish(self.message(headers, event)?).await
    }

    fn message(&self, headers: Vec<(String, Vec<u8>)>, event: P) -> Result<Message, PublishError> {
        let key = event.key().into_owned().into_bytes();
        let value = event.write().map_err(|malformed| PublishError::Refused(malformed.0))?;
        let timestamp = chrono::Utc::now();
        Ok(Message { key: Some(key), value: Some(value), headers, timestamp, partition: None })
    }

    /// The publisher that it sends through.
    pub fn publisher(&self) -> &Arc<dyn Publisher> {
        &self.publisher
    }

    /// The producer that it sends through; `None` if it was made by [`TypedProducer::new`].
    pub fn producer(&self) -> Option<&Arc<Producer>> {
        self.producer.as_ref()
    }

    /// Takes no more events, and waits until those in the queue are acknowledged or out of time.
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
