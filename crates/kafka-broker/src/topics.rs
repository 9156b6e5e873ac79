//! Topics and their settings.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::log::{PartitionLog, Rules};

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

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    /// The settings that it was created with.
    pub(super) configs: BTreeMap<String, String>,
    pub(super) partitions: Vec<PartitionLog>,
}

impl Topic {
    pub(super) fn new(partitions: PartitionCount, configs: BTreeMap<String, String>) -> Self {
        let mut topic = Self { id: Uuid::new_v4(), configs, partitions: Vec::new() };
        topic.grow(partitions);
        topic
    }

    pub(super) fn grow(&mut self, partitions: PartitionCount) {
        self.partitions.resize_with(partitions.0, PartitionLog::default);
    }

    /// A setting, or Kafka's default for it.
    pub(super) fn config(&self, name: &str) -> Option<&str> {
        let default = DEFAULT_CONFIGS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        self.configs.get(name).map(String::as_str).or(default)
    }

    /// All settings, and whether each is the topic's own.
    pub(super) fn all_configs(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let defaults = DEFAULT_CONFIGS.iter().filter(|(name, _)| !self.configs.contains_key(*name));
        let given = self.configs.iter().map(|(name, value)| (name.as_str(), value.as_str(), true));
        given.chain(defaults.map(|(name, value)| (*name, *value, false)))
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
