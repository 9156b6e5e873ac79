//! Topics and their settings.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    cluster::{NodeId, PartitionId, TopicImage},
    log::Rules,
    partition::Partition,
};

/// The settings that clients ask about, with Kafka's defaults (`LogConfig` in Java).
pub(super) const DEFAULT_CONFIGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.type", "CreateTime"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("unclean.leader.election.enable", "false"),
];

/// The most partitions of a topic.
const MOST_PARTITIONS: i32 = 100_000;

/// A topic, as a node knows and has it.
#[derive(Debug)]
pub(super) struct Topic {
    known: Arc<TopicImage>,
    pub(super) partitions: Vec<Partition>,
}

impl Topic {
    pub(super) fn new(node: NodeId, known: &Arc<TopicImage>, now: Instant) -> Self {
        let mut topic = Self { known: Arc::clone(known), partitions: Vec::new() };
        topic.take_over(node, now);
        topic
    }

    /// Applies the topic's part of a newer image.
    pub(super) fn apply_image(&mut self, node: NodeId, known: &Arc<TopicImage>, now: Instant) {
        self.known = Arc::clone(known);
        self.take_over(node, now);
    }

    fn take_over(&mut self, node: NodeId, now: Instant) {
        self.partitions.resize_with(self.known.partitions.len(), || Partition::new(node));
        for (partition, leadership) in self.partitions.iter_mut().zip(&self.known.partitions) {
            partition.apply_leadership(leadership, now);
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.known.id
    }

    /// Its partitions, each with its id.
    pub(super) fn with_ids(&mut self) -> impl Iterator<Item = (PartitionId, &mut Partition)> {
        let id = self.known.id;
        (0..)
            .zip(&mut self.partitions)
            .map(move |(index, partition)| (PartitionId::Topic(id, index), partition))
    }

    /// The replicas in sync that acks=all needs.
    pub(super) fn least_in_sync(&self) -> usize {
        self.config("min.insync.replicas").and_then(|least| least.parse().ok()).unwrap_or(1)
    }

    /// A setting, or Kafka's default for it.
    pub(super) fn config(&self, name: &str) -> Option<&str> {
        self.known.config(name)
    }

    /// All settings, and whether each is the topic's own.
    pub(super) fn all_configs(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.known.all_configs()
    }

    /// Its limits for the batches of producers, at this time.
    pub(super) fn rules(&self) -> Rules {
        let most_bytes = self.config("max.message.bytes").and_then(|most| most.parse().ok());
        let stamps = self.config("message.timestamp.type") == Some("LogAppendTime");
        let before = self.config("message.timestamp.before.max.ms").and_then(|most| most.parse::<i64>().ok());
        Rules {
            most_bytes: most_bytes.unwrap_or(usize::MAX),
            append_time: stamps.then(now_millis),
            oldest: before.map(|before| now_millis().saturating_sub(before)),
        }
    }
}

impl TopicImage {
    fn config(&self, name: &str) -> Option<&str> {
        let default = DEFAULT_CONFIGS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        self.configs.get(name).map(String::as_str).or(default)
    }

    pub(super) fn all_configs(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let defaults = DEFAULT_CONFIGS.iter().filter(|(name, _)| !self.configs.contains_key(*name));
        let given = self.configs.iter().map(|(name, value)| (name.as_str(), value.as_str(), true));
        given.chain(defaults.map(|(name, value)| (*name, *value, false)))
    }
}

/// Whether a topic may have that many partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionCount(usize);

impl PartitionCount {
    pub(super) fn new(count: i32) -> Option<Self> {
        let count = (1..=MOST_PARTITIONS).contains(&count).then_some(count)?;
        usize::try_from(count).ok().map(Self)
    }

    pub(super) fn get(self) -> usize {
        self.0
    }
}

/// `org.apache.kafka.common.internals.Topic.validate` in Java.
pub(super) fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

/// Whether a setting can have that value. An unknown setting can have any.
pub(super) fn is_legal_config(name: &str, value: &str) -> bool {
    match name {
        "cleanup.policy" => value.split(',').all(|policy| matches!(policy.trim(), "compact" | "delete")),
        "compression.type" => {
            matches!(value, "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd")
        }
        "max.message.bytes" => value.parse::<i32>().is_ok_and(|bytes| bytes >= 0),
        "message.timestamp.type" => matches!(value, "CreateTime" | "LogAppendTime"),
        "min.insync.replicas" => value.parse::<i32>().is_ok_and(|replicas| replicas >= 1),
        "message.timestamp.before.max.ms" => value.parse::<i64>().is_ok_and(|most| most >= 0),
        "retention.ms" | "retention.bytes" => value.parse::<i64>().is_ok_and(|most| most >= -1),
        "unclean.leader.election.enable" => matches!(value, "true" | "false"),
        _ => true,
    }
}

/// Now, in milliseconds since 1970.
pub(super) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
