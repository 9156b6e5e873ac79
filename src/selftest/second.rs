//! A second service of the same code inside this process, with topics and groups of its own.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::Utc;
use highwater_kafka::{Cluster, Kafka, Message, OffsetReset, TypedProducer, exists};
use highwater_web::{
    http::{BearerToken, client::Request},
    shutdown::Shutdown,
};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use super::checks::ServiceUnderTest;
use crate::{config::Config, service, store::ActivityEvent};

/// The retention of the topics, for a process that is killed before it deletes them.
const RETENTION: Duration = Duration::from_secs(60 * 60);
/// Longer than a selftest takes. A metadata request for a topic that is being deleted would create it again.
const NEVER: Duration = Duration::from_secs(60 * 60);
/// The longest wait for a group to become empty, beyond the session of a member whose LeaveGroup was lost.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A bound of the store that holds all events of a selftest in any one partition.
const STORE_MAX_EVENTS: u64 = 1_000_000;

/// The second service, with direct access to its topics.
pub(super) struct SecondInstance {
    pub(super) service: ServiceUnderTest,
    name: String,
    /// The session time-out of the group.
    session: Duration,
    stop: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
    cluster: Arc<Cluster>,
    events: TypedProducer<ActivityEvent>,
    /// The value of `Authorization` for its dead letters.
    authorization: String,
    #[cfg(feature = "embedded-broker")]
    _broker: Option<highwater_kafka_broker::Broker>,
}

impl SecondInstance {
    /// Starts the service. The names of its topics and groups begin with `name`.
    pub(super) async fn start(mut config: Config, name: &str) -> anyhow::Result<Self> {
        #[cfg(feature = "embedded-broker")]
        let _broker = crate::embedded::start(&mut config.kafka).await?;
        config.embedded = false;
        // The service is reached over loopback, by this process alone: it need not authenticate its clients.
        config.http.https = None;
        config.topic.name = name.to_owned();
        config.topic.retention = Some(RETENTION);
        config.dead_letter_topic = config.topic.dead_letters();
        config.consumer.group_id = name.to_owned();
        config.consumer.offset_reset = OffsetReset::Earliest;
        config.consumer.metadata_max_age = NEVER;
        config.store.max_events = config.store.max_events.max(STORE_MAX_EVENTS);
        // The events of the test do not belong into the database.
        #[cfg(feature = "postgres")]
        {
            config.postgres = None;
        }

        let token = Uuid::new_v4().simple().to_string();
        config.dead_letters.admin = Some(BearerToken::new(&token));

        let kafka = Kafka::new(config.kafka.clone())?.with_metadata_max_age(NEVER);
        let events = kafka.topic::<ActivityEvent>(config.topic.clone()).producer(config.producer.clone());

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port is free")?;
        let service = ServiceUnderTest::at(listener.local_addr()?, None);
        let stop = Shutdown::new();
        let session = config.consumer.session_timeout;
        let running = tokio::spawn(service::run(config, listener.into(), stop.clone()));
        Ok(Self {
            service,
            name: name.to_owned(),
            session,
            stop,
            running,
            cluster: Arc::clone(kafka.cluster()),
            events,
            authorization: format!("Bearer {token}"),
            #[cfg(feature = "embedded-broker")]
            _broker,
        })
    }

    /// Whether its topic for dead letters is there. One that is being made when it is deleted would be left.
    pub(super) async fn has_dead_letter_topic(&self) -> anyhow::Result<bool> {
        let mut connection = self.cluster.connect().await?;
        Ok(exists(&mut connection, &self.dead_letter_topic()).await?)
    }

    fn dead_letter_topic(&self) -> String {
        format!("{}.dlq", self.name)
    }

    /// Writes a record to the topic as another program would.
    pub(super) async fn write(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        let message = Message {
            key: Some(key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
            timestamp: Utc::now(),
            partition: None,
        };
        self.events.publisher().publish(message).await?;
        Ok(())
    }

    /// A request for all dead letters.
    pub(super) fn dead_letters(&self) -> Request {
        Request::get("/dead-letters").with("authorization", self.authorization.clone())
    }

    /// Stops the service, and deletes its topics and groups.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        let topics = [self.name.clone(), self.dead_letter_topic()];
        self.stop.request();
        let stopped = self.running.await;
        self.events.close().await;
        self.cluster
            .delete_topics(&topics)
            .await
            .with_context(|| format!("topics {} are left: delete them by hand", topics.join(" and ")))?;
        let deleted = self.cluster.delete_group(&self.name, self.session + LEAVE_TIMEOUT).await;
        deleted.with_context(|| format!("group {} is left: Kafka forgets it by itself", self.name))?;
        stopped?
    }
}
