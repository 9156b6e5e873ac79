//! The cluster under test, with a topic and a group for each test.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use highwater_kafka::{
    Cluster, ClusterConfig, Consumer, ConsumerConfig, DlqPublisher, Producer, ProducerConfig, RecordHandler,
    StatusRegistry, Topic, TopicConfig, group::GroupProtocol,
};
use highwater_kafka_broker::{Broker, Options};
use uuid::Uuid;

use super::switch;

/// A cluster, and names on it that no other test has.
pub(crate) struct TestCluster {
    pub(crate) brokers: Vec<String>,
    /// The embedded broker, where it is that: it can be made to fail.
    pub(crate) embedded: Option<Broker>,
    pub(crate) topic: String,
    pub(crate) group: String,
}

impl TestCluster {
    /// The cluster that TEST_KAFKA_BROKERS names, or an embedded broker of the test's own.
    pub(crate) async fn start() -> Self {
        match real_brokers() {
            Some(brokers) => Self::named(brokers.clone(), None),
            None => Self::embedded().await,
        }
    }

    /// An embedded broker, whatever TEST_KAFKA_BROKERS says: for tests that make it fail.
    pub(crate) async fn embedded() -> Self {
        // Members hear of a new assignment by their next heartbeat.
        let consumer_heartbeat_interval = Duration::from_secs(1);
        Self::embedded_with(Options { consumer_heartbeat_interval, ..Options::default() }).await
    }

    /// As [`TestCluster::embedded`], with a broker that behaves so.
    pub(crate) async fn embedded_with(options: Options) -> Self {
        let broker = Broker::start(options).await.unwrap();
        Self::named(vec![broker.bootstrap()], Some(broker))
    }

    pub(crate) fn named(brokers: Vec<String>, embedded: Option<Broker>) -> Self {
        let name = format!("test-{}", Uuid::new_v4());
        Self { brokers, embedded, topic: name.clone(), group: format!("{name}-group") }
    }

    /// The topic that users are kept in.
    pub(crate) fn users(&self) -> String {
        format!("{}-users", self.topic)
    }

    /// The topic that orders are kept in.
    pub(crate) fn orders(&self) -> String {
        format!("{}-orders", self.topic)
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.embedded.as_ref().expect("a test that starts an embedded broker")
    }

    /// A client of its own, as another process would have. A real broker may be slow without being wrong: its machine has
    /// other work.
    pub(crate) fn client(&self) -> Client {
        self.client_within(Duration::from_secs(if self.embedded.is_some() { 2 } else { 10 }))
    }

    /// As [`TestCluster::client`], of another topic.
    pub(crate) fn client_of(&self, topic: &str) -> Client {
        Client { topic: topic.to_owned(), ..self.client() }
    }

    /// As [`TestCluster::client`], which waits so long for any answer.
    pub(crate) fn client_within(&self, request_timeout: Duration) -> Client {
        let config = ClusterConfig::new(self.brokers.clone())
            .with_client_id("highwater-test".to_owned())
            .with_request_timeout(request_timeout);
        Client {
            cluster: Arc::new(Cluster::new(config).unwrap()),
            registry: Arc::new(StatusRegistry::new()),
            topic: self.topic.clone(),
            group: self.group.clone(),
            embedded: self.embedded.is_some(),
        }
    }
}

/// One process's way to the cluster, with settings that fit a test.
pub(crate) struct Client {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) registry: Arc<StatusRegistry>,
    topic: String,
    group: String,
    embedded: bool,
}

impl Client {
    pub(crate) fn topic(&self) -> Topic {
        self.topic_named(&self.topic, 3)
    }

    pub(crate) fn dead_letter_topic(&self) -> Topic {
        self.topic_named(&format!("{}.dlq", self.topic), 3)
    }

    pub(crate) fn topic_named(&self, name: &str, partitions: i32) -> Topic {
        self.topic_of(TopicConfig::new(name).with_partitions(partitions).with_retention(None))
    }

    pub(crate) fn topic_of(&self, config: TopicConfig) -> Topic {
        Topic::follow(
            Arc::clone(&self.cluster),
            config,
            Duration::from_millis(200),
            Arc::clone(&self.registry),
        )
    }

    pub(crate) fn producer(&self, topic: Topic) -> Arc<Producer> {
        self.producer_within(topic, Duration::from_secs(if self.embedded { 5 } else { 20 }))
    }

    pub(crate) fn producer_within(&self, topic: Topic, timeout: Duration) -> Arc<Producer> {
        let config = ProducerConfig::default().with_timeout(timeout);
        Arc::new(Producer::new(Arc::clone(&self.cluster), topic, config, Arc::clone(&self.registry)))
    }

    pub(crate) fn consumer_config(&self) -> ConsumerConfig {
        ConsumerConfig::new(self.group.clone())
            .with_protocol(if self.embedded { GroupProtocol::Classic } else { protocol() })
            .with_session_timeout(Duration::from_secs(6))
            .with_rebalance_timeout(Duration::from_secs(12))
            .with_heartbeat_interval(Duration::from_millis(200))
            .with_commit_interval(Duration::from_millis(100))
            .with_metadata_max_age(Duration::from_millis(200))
    }

    pub(crate) fn consumer(&self, handler: Arc<dyn RecordHandler>) -> Consumer {
        self.consumer_with(handler, self.consumer_config())
    }

    pub(crate) fn consumer_with(&self, handler: Arc<dyn RecordHandler>, config: ConsumerConfig) -> Consumer {
        let dead_letters =
            DlqPublisher::new(self.producer(self.dead_letter_topic()), &self.topic, &self.group);
        let (cluster, registry) = (Arc::clone(&self.cluster), Arc::clone(&self.registry));
        Consumer::start(cluster, self.topic(), config, handler, dead_letters, registry)
    }
}

/// The group protocol of tests to which it does not matter: TEST_GROUP_PROTOCOL, or the classic one. On the embedded broker
/// it is that one, as tests there disturb its requests.
fn protocol() -> GroupProtocol {
    match switch("TEST_GROUP_PROTOCOL").as_deref() {
        Some("consumer") => GroupProtocol::Consumer,
        Some("auto") => GroupProtocol::Auto,
        _ => GroupProtocol::Classic,
    }
}

fn real_brokers() -> Option<&'static Vec<String>> {
    static BROKERS: OnceLock<Option<Vec<String>>> = OnceLock::new();
    let brokers = BROKERS.get_or_init(|| {
        let named = switch("TEST_KAFKA_BROKERS")?;
        Some(named.split(',').map(|broker| broker.trim().to_owned()).collect())
    });
    brokers.as_ref()
}
