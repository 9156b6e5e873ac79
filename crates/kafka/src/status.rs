//! The status of the cluster and the group, for health checks.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

/// The status at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// The cluster, as last seen by the producer and the consumer.
    pub kafka: KafkaStatus,
    /// The consumer group, as this member sees it.
    pub group: GroupStatus,
}

impl Status {
    /// Whether traffic should come here: Kafka answers and accepts records, and the first assignment is restored and caught
    /// up. A later rebalance does not change that.
    pub fn is_ready(&self) -> bool {
        self.kafka.connected && self.kafka.refusal().is_none() && self.group.is_restored()
    }
}

/// The status of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct KafkaStatus {
    /// Whether Kafka answers: a call succeeded since a component began to fail.
    pub connected: bool,
    /// The last error, until it is resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The brokers that lead partitions which records were sent to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BreakerStatus>,
    /// The topics that refuse all records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<TopicRefusal>,
    /// The topic settings that weaken a guarantee (replication, min.insync.replicas, unclean elections), and for an hour
    /// each loss.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The losses of the last hour.
    #[serde(skip)]
    pub notices: Vec<Notice>,
}

/// A loss that is reported for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Its description.
    pub text: String,
    /// The end of the report.
    pub until: Instant,
}

impl KafkaStatus {
    /// A topic that refuses all records. A refusal counts for five seconds, as only the next record can show whether it
    /// lasts.
    pub fn refusal(&self) -> Option<&TopicRefusal> {
        let now = Instant::now();
        self.refusals.iter().find(|refusal| now < refusal.at + TopicRefusal::STANDS)
    }
}

/// A topic that refuses all records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TopicRefusal {
    /// Its name.
    pub topic: String,
    /// The reason, and the remedy.
    pub reason: String,
    /// The time of the last refusal.
    #[serde(skip)]
    pub at: Instant,
}

impl TopicRefusal {
    /// The time for which a refusal counts.
    const STANDS: Duration = Duration::from_secs(5);

    /// A refusal of this moment.
    pub(super) fn now(topic: &str, reason: &str) -> Self {
        Self { topic: topic.to_owned(), reason: reason.to_owned(), at: Instant::now() }
    }
}

/// The circuit breaker of a broker, as the producers of this process see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BreakerStatus {
    /// The broker's address, `host:port`.
    pub broker: String,
    /// The breaker's state.
    pub breaker: BreakerState,
}

/// The states of a circuit breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BreakerState {
    /// The broker gets records.
    #[default]
    Closed,
    /// The broker can be reached again: it gets one record a partition as a probe.
    HalfOpen,
    /// The broker hangs: records for its partitions are refused at once.
    Open,
}

/// The status of the group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GroupStatus {
    /// The group's id.
    pub id: String,
    /// This member's phase.
    pub phase: GroupPhase,
    /// The group protocol, `classic` or `consumer`; empty before the member joins.
    pub protocol: &'static str,
    /// The assignor that the coordinator elected; `None` under the protocol `consumer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignor: Option<&'static str>,
    /// This member's id; empty before it joined.
    pub member: String,
    /// The group's generation; the member's epoch under the protocol `consumer`.
    pub generation: i32,
    /// The partitions assigned to this member.
    pub partitions: Vec<PartitionStatus>,
    /// The topic's number of partitions; 0 while it is not known.
    #[serde(skip)]
    pub topic_partitions: usize,
    /// Whether every partition of the first assignment was restored and processed up to the end that it had then.
    pub caught_up: bool,
    /// The last rebalances of this member, the newest first.
    #[serde(skip)]
    pub rebalances: VecDeque<Rebalance>,
    /// Whether the assignment has been empty for so long that none is to be expected. A new member gets partitions
    /// when the others have revoked them, which is a moment after its first assignment.
    #[serde(skip)]
    pub idle: bool,
    /// The last error, until it is resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl GroupStatus {
    /// The number of rebalances that are kept.
    const MAX_REBALANCES: usize = 8;

    /// Whether the first assignment was restored and caught up, and this member has not left. It stays so while Kafka is
    /// away: the projection can still be read.
    pub fn is_restored(&self) -> bool {
        self.caught_up && self.phase != GroupPhase::Left
    }

    /// Sets `caught_up` once the first assignment is.
    pub(super) fn update_caught_up(&mut self) {
        let at_work = self.phase == GroupPhase::Assigned && (self.idle || !self.partitions.is_empty());
        self.caught_up |= at_work && self.partitions.iter().all(PartitionStatus::is_caught_up);
    }

    /// Adds a rebalance, and drops the oldest beyond the limit.
    pub(super) fn record_rebalance(&mut self, rebalance: Rebalance) {
        self.rebalances.truncate(Self::MAX_REBALANCES - 1);
        self.rebalances.push_front(rebalance);
    }
}

/// A change of this member's assignment or generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebalance {
    /// Its start, as far as this member knows.
    pub at: DateTime<Utc>,
    /// The reason, as far as this member knows: the coordinator does not give one.
    pub reason: String,
    /// The new generation; the member's epoch under the protocol `consumer`.
    pub generation: i32,
    /// The time until this member owned its assignment.
    pub duration: Duration,
    /// The partitions that were added.
    pub assigned: BTreeSet<i32>,
    /// The partitions that were revoked or lost.
    pub revoked: BTreeSet<i32>,
}

/// The phases of a member, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GroupPhase {
    /// Looking for the coordinator.
    #[default]
    Finding,
    /// Waiting for the answer to JoinGroup.
    Joining,
    /// Waiting for the answer to SyncGroup.
    Syncing,
    /// Processing its assignment.
    Assigned,
    /// Draining and committing partitions that are revoked.
    Revoking,
    /// Out of the group, without an attempt to join.
    Left,
}

/// The status of an assigned partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// Whether the projection is restored up to the committed offset.
    pub restored: bool,
    /// The next offset to be processed.
    pub position: i64,
    /// The last committed offset; -1 while there is none.
    pub committed: i64,
    /// The end of the log as last seen.
    pub end: i64,
    /// The end of the log at the assignment, which is to be reached before the member is ready; `None` while it is not
    /// known.
    #[serde(skip)]
    pub goal: Option<i64>,
    /// How long the partition was not processed here in the last rebalance: 0 if it stayed; `None` until processing
    /// starts.
    #[serde(skip)]
    pub paused: Option<Duration>,
    /// The reason why the partition is stalled, while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl PartitionStatus {
    /// Whether it is restored, and processed up to [`PartitionStatus::goal`].
    pub fn is_caught_up(&self) -> bool {
        self.restored && self.goal.is_some_and(|goal| self.position >= goal)
    }

    /// The number of offsets that are not processed yet; `None` while the log's end is not known.
    pub fn lag(&self) -> Option<u64> {
        self.goal.map(|_| u64::try_from(self.end - self.position).unwrap_or(0))
    }
}
