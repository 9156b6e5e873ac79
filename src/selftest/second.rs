//! A second service of the same code inside this process, whose topics and groups are its own.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::Utc;
use highwater_kafka::{
    BatchOutcome, Cluster, Consumer, DlqPublisher, Message, OffsetReset, Producer, Publisher as _, Record,
    RecordHandler, StatusRegistry, Topic,
};
use highwater_web::shutdown::Shutdown;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};

use super::checks::Service;
use crate::{activity, config::Config};

/// What is left behind where this process is killed is gone after so long.
const RETENTION: Duration = Duration::from_secs(60 * 60);
/// Longer than a selftest takes: nobody looks for a topic that is being deleted, which would make it anew.
const NEVER: Duration = Duration::from_secs(60 * 60);
/// How long a group may take to be empty, beyond the session of a member whose farewell was lost.
const GOING: Duration = Duration::from_secs(2);
/// Room in the store for all that a selftest posts, however it is shared among partitions.
const ROOM: u64 = 1_000_000;

/// The second service, and the way to Kafka past it.
pub(super) struct Second {
    pub(super) service: Service,
    name: String,
    /// When a member that says nothing more is none.
    session: Duration,
    stop: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
    cluster: Arc<Cluster>,
    events: Producer,
    letters: mpsc::UnboundedReceiver<Record>,
    reading: Consumer,
    #[cfg(feature = "embedded-broker")]
    _broker: Option<highwater_kafka_broker::Broker>,
}

impl Second {
    /// Starts it, with its topics and groups called `name` and with `name` at their beginning.
    pub(super) async fn start(config: Config, name: &str) -> anyhow::Result<Self> {
        #[cfg(feature = "embedded-broker")]
        let (mut config, _broker) = crate::embedded::embedded(config).await?;
        #[cfg(not(feature = "embedded-broker"))]
        let mut config = config;
        config.embedded = false;
        config.topic.name = name.to_owned();
        config.topic.retention = Some(RETENTION);
        config.dead_letter_topic = config.topic.dead_letters();
        config.consumer.group_id = name.to_owned();
        config.consumer.offset_reset = OffsetReset::Earliest;
        config.consumer.metadata_max_age = NEVER;
        config.store.max_events = config.store.max_events.max(ROOM);

        let cluster = Arc::new(Cluster::new(config.kafka.clone()));
        let registry = Arc::new(StatusRegistry::new());
        let follow = |topic| Topic::follow(Arc::clone(&cluster), topic, NEVER, Arc::clone(&registry));
        let producer = |topic| {
            Producer::new(Arc::clone(&cluster), topic, config.producer.clone(), Arc::clone(&registry))
        };
        let (found, letters) = mpsc::unbounded_channel();
        let dead_letter_topic = follow(config.dead_letter_topic.clone());
        let mut reading = config.consumer.clone();
        reading.group_id = letters_group(name);
        let reading = Consumer::start(
            Arc::clone(&cluster),
            dead_letter_topic.clone(),
            reading,
            Arc::new(Collect(found)),
            DlqPublisher::new(Arc::new(producer(dead_letter_topic)), name, name),
            Arc::clone(&registry),
        );
        let events = producer(follow(config.topic.clone()));

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port can be had")?;
        let service = Service::at(listener.local_addr()?);
        let stop = Shutdown::new();
        let session = config.consumer.session_timeout;
        let running = tokio::spawn(activity::run(config, listener.into(), stop.clone()));
        Ok(Self {
            service,
            name: name.to_owned(),
            session,
            stop,
            running,
            cluster,
            events,
            letters,
            reading,
            #[cfg(feature = "embedded-broker")]
            _broker,
        })
    }

    /// Writes a record to its topic as another program would.
    pub(super) async fn write(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        let message = Message {
            key: Some(key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
            timestamp: Utc::now(),
            partition: None,
        };
        self.events.publish(message).await?;
        Ok(())
    }

    /// The next of its dead letters.
    pub(super) async fn dead_letter(&mut self, patience: Duration) -> Result<Option<Record>, Elapsed> {
        timeout(patience, self.letters.recv()).await
    }

    /// Stops it, and deletes its topics and groups.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.stop.request();
        let stopped = self.running.await;
        self.events.close().await;
        self.reading.stop().await;
        drop(self.letters);
        let topics = [self.name.clone(), format!("{}.dlq", self.name)];
        self.cluster
            .delete_topics(&topics)
            .await
            .with_context(|| format!("topics {} are left: delete them by hand", topics.join(" and ")))?;
        for group in [self.name.clone(), letters_group(&self.name)] {
            let deleted = self.cluster.delete_group(&group, self.session + GOING).await;
            deleted.with_context(|| format!("group {group} is left: Kafka forgets it by itself"))?;
        }
        stopped?
    }
}

fn letters_group(name: &str) -> String {
    format!("{name}-letters")
}

/// Passes every record on.
struct Collect(mpsc::UnboundedSender<Record>);

#[async_trait]
impl RecordHandler for Collect {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        for record in records {
            // Nobody waits for more of them at the end.
            let _ = self.0.send(record.clone());
        }
        BatchOutcome::default()
    }
}
