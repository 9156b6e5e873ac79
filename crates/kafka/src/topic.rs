//! Topics: their partitions, leaders and settings, and their creation.

mod settings;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, CreateTopicsRequest, MetadataRequest, MetadataResponse, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};
use log::{info, warn};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Cluster, StatusRegistry, TopicConfig,
    backoff::Backoff,
    wire::{Connection, METADATA_VERSIONS, WireError},
};
pub use settings::settings;
use settings::weaknesses;

/// The response does not have the topic.
const UNKNOWN: WireError =
    WireError::Refused { what: "Metadata", error: ResponseError::UnknownTopicOrPartition };

/// The size of a topic (`TopicDescription` in Java).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// The number of partitions.
    pub partitions: usize,
    /// The replicas of the partition that has the fewest.
    pub replication: usize,
}

/// A broker's host and port.
pub(super) type Address = (String, i32);

/// A broker's knowledge of a partition's leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leadership {
    /// `None` while there is no leader.
    pub(super) leader: Option<Address>,
    /// The leader epoch, which rises with every election.
    pub(super) epoch: i32,
    /// The topic's id (KIP-516), if the broker has ids.
    pub(super) topic: Option<Uuid>,
    /// The replicas that are online.
    pub(super) replicas: Vec<Address>,
}

/// A topic that is followed: it is created if it is missing, and its number of partitions stays known. Clones share that.
#[derive(Debug, Clone)]
pub struct Topic {
    name: Arc<str>,
    partitions: watch::Receiver<usize>,
    /// The bound of [`Topic::with_max_partitions`].
    most: usize,
}

impl Topic {
    /// Spawns a task that creates the topic if it is missing, and then looks for new partitions every `max_age`, until
    /// all handles are dropped. An existing topic is left as it is; settings of it that weaken a guarantee are a
    /// warning of the status.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn follow(
        cluster: Arc<Cluster>,
        config: TopicConfig,
        max_age: Duration,
        registry: Arc<StatusRegistry>,
    ) -> Self {
        let (sender, partitions) = watch::channel(0);
        let name: Arc<str> = config.name.as_str().into();
        tokio::spawn(follow(cluster, config, max_age, registry, sender));
        Self { name, partitions, most: usize::MAX }
    }

    /// The same topic, of which only the first `most` partitions count.
    #[must_use]
    pub fn with_max_partitions(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The topic's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The name of the task that follows a topic, as a component of the status.
    pub(crate) fn component(name: &str) -> String {
        format!("looking up topic {name}")
    }

    /// The number of partitions; 0 while it is not known.
    pub fn partitions(&self) -> usize {
        (*self.partitions.borrow()).min(self.most)
    }

    /// Waits until the number of partitions is known, and returns it.
    pub async fn known_partitions(&mut self) -> usize {
        // An error means that the task has ended: the last known settings stay.
        let _ = self.partitions.wait_for(|partitions| *partitions > 0).await;
        self.partitions()
    }

    /// Waits until the number of partitions is another.
    pub async fn changed_from(&mut self, partitions: usize) {
        if self.partitions.wait_for(|now| (*now).min(self.most) != partitions).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn follow(
    cluster: Arc<Cluster>,
    config: TopicConfig,
    max_age: Duration,
    registry: Arc<StatusRegistry>,
    partitions: watch::Sender<usize>,
) {
    let component = Topic::component(&config.name);
    let mut backoff = Backoff::new();
    let mut warned = false;
    // The topic had this many replicas when it was last described. Fewer brokers are known while some are down.
    let mut least = 0;
    loop {
        let refreshed = tokio::select! {
            refreshed = refresh(&cluster, &config, least, &registry, &mut warned) => refreshed,
            // Nobody is left, and the topic may be deleted now: it must not be created again.
            () = partitions.closed() => return,
        };
        let wait = match refreshed {
            Ok(description) => {
                registry.succeeded(&component);
                backoff = Backoff::new();
                least = description.replication;
                partitions.send_if_modified(|known| {
                    let news = *known != description.partitions;
                    *known = description.partitions;
                    news
                });
                max_age
            }
            Err(error) => {
                // A refusal is about this topic; a failed connection is about all.
                let prefix = error.code().map(|_| format!("topic {}: ", config.name)).unwrap_or_default();
                registry.failed(&component, &format!("{prefix}{}", error.explained()));
                backoff.next_wait()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = partitions.closed() => return,
        }
    }
}

async fn refresh(
    cluster: &Cluster,
    config: &TopicConfig,
    least: usize,
    registry: &StatusRegistry,
    warned: &mut bool,
) -> Result<TopicDescription, WireError> {
    let mut connection = cluster.connect().await?;
    let description = match describe(&mut connection, &config.name).await {
        Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => {
            create(cluster, &mut connection, config, least).await?;
            *warned = false;
            describe_new(&mut connection, &config.name).await?
        }
        described => described?,
    };
    if !*warned {
        let warnings = weaknesses(&mut connection, &config.name, &description).await;
        for warning in &warnings {
            warn!("topic {}: {warning}", config.name);
        }
        registry.warnings(&config.name, &warnings);
        *warned = true;
    }
    Ok(description)
}

/// Describes a new topic, which not every broker knows yet.
async fn describe_new(connection: &mut Connection, topic: &str) -> Result<TopicDescription, WireError> {
    let mut backoff = Backoff::new();
    for _ in 0..4 {
        match describe(connection, topic).await {
            Err(error) if error.code().is_some_and(|code| code.is_retriable()) => backoff.wait().await,
            described => return described,
        }
    }
    describe(connection, topic).await
}

async fn metadata(
    connection: &mut Connection,
    topic: &str,
    known: RangeInclusive<i16>,
) -> Result<MetadataResponse, WireError> {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    connection.call(&request, known).await
}

/// Describes a topic. It is not created.
///
/// # Errors
///
/// There is no such topic; or the broker does not answer, or refuses.
pub async fn describe(connection: &mut Connection, topic: &str) -> Result<TopicDescription, WireError> {
    let answer = metadata(connection, topic, METADATA_VERSIONS).await?;
    let found = answer.topics.into_iter().next().ok_or(UNKNOWN)?;
    WireError::check("Metadata", found.error_code)?;
    let replication = found.partitions.iter().map(|partition| partition.replica_nodes.len()).min();
    Ok(TopicDescription { partitions: found.partitions.len(), replication: replication.unwrap_or(0) })
}

/// Whether a topic exists. It is not created.
///
/// # Errors
///
/// The broker does not answer, or refuses.
pub async fn exists(connection: &mut Connection, topic: &str) -> Result<bool, WireError> {
    match describe(connection, topic).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The topic's id (KIP-516). A recreated topic has another.
pub(crate) async fn id(connection: &mut Connection, topic: &str) -> Result<Uuid, WireError> {
    let answer = metadata(connection, topic, 10..=12).await?;
    let found = answer.topics.into_iter().next().ok_or(UNKNOWN)?;
    WireError::check("Metadata", found.error_code)?;
    Ok(found.topic_id)
}

/// The host and port of a partition's leader.
pub(crate) async fn leader(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
) -> Result<(String, i32), WireError> {
    leadership(connection, topic, partition).await?.leader.ok_or(WireError::NO_LEADER)
}

/// The broker's knowledge of a partition's leader.
pub(super) async fn leadership(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
) -> Result<Leadership, WireError> {
    let answer = metadata(connection, topic, METADATA_VERSIONS).await?;
    for found in &answer.topics {
        WireError::check("Metadata", found.error_code)?;
    }
    let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions.find(|found| found.partition_index == partition).ok_or(WireError::NO_LEADER)?;
    let address = |id: BrokerId| {
        let broker = answer.brokers.iter().find(|broker| broker.node_id == id)?;
        Some((broker.host.as_str().to_owned(), broker.port))
    };
    Ok(Leadership {
        leader: address(found.leader_id),
        epoch: found.leader_epoch,
        topic: answer.topics.first().map(|topic| topic.topic_id).filter(|id| !id.is_nil()),
        replicas: found.replica_nodes.iter().filter_map(|id| address(*id)).collect(),
    })
}

/// Creates a topic, with at least `least` replicas of each partition unless the settings have their number.
async fn create(
    cluster: &Cluster,
    connection: &mut Connection,
    config: &TopicConfig,
    least: usize,
) -> Result<(), WireError> {
    const WHAT: &str = "CreateTopics";
    let about = metadata(connection, &config.name, METADATA_VERSIONS).await?;
    let by_brokers = || i16::try_from(about.brokers.len().clamp(1, 3).max(least)).unwrap_or(i16::MAX);
    let replication = config.replication_factor.unwrap_or_else(by_brokers);
    let retention = config.retention.map_or("-1".to_owned(), |retention| retention.as_millis().to_string());
    let in_sync = if replication >= 3 { "2" } else { "1" };
    let configs = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention),
        ("max.message.bytes", config.max_message_bytes.to_string()),
        ("min.insync.replicas", in_sync.to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    // Unlimited in time is unlimited in bytes too, whatever the brokers' default is.
    let unlimited = config.retention.is_none().then(|| ("retention.bytes", "-1".to_owned()));
    let configs = configs.into_iter().chain(unlimited).map(|(name, value)| {
        let value = Some(StrBytes::from_string(value));
        CreatableTopicConfig::default().with_name(StrBytes::from_static_str(name)).with_value(value)
    });
    let topic = CreatableTopic::default()
        .with_name(name(&config.name))
        .with_num_partitions(config.partitions)
        .with_replication_factor(replication)
        .with_configs(configs.collect());
    let timeout_ms = i32::try_from(cluster.request_timeout().as_millis()).unwrap_or(i32::MAX);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms);
    // Under ZooKeeper only the controller creates topics.
    let controller = about.brokers.iter().find(|broker| broker.node_id == about.controller_id);
    let answer = match controller {
        Some(broker) => cluster.connect_to(&broker.host, broker.port).await?.call(&request, 2..=5).await?,
        None => connection.call(&request, 2..=5).await?,
    };
    let created = answer.topics.into_iter().next().unwrap_or_default();
    match WireError::check(WHAT, created.error_code) {
        Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => Ok(()),
        Err(WireError::Refused { what, error }) => {
            let said = created.error_message.filter(|said| !said.is_empty());
            Err(match said {
                Some(said) => WireError::Denied { what, error, said: said.as_str().to_owned() },
                None => WireError::Refused { what, error },
            })
        }
        Err(error) => Err(error),
        Ok(()) => {
            info!(
                "topic {} created: partitions={} replication={replication}",
                config.name, config.partitions
            );
            Ok(())
        }
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
