//! What the messaging room knows of itself, for /health, /ready and whoever looks.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster, as the producer and the consumer last found it.
    pub kafka: KafkaStatus,
    /// The consumer group, as this member sees it.
    pub group: GroupStatus,
}

impl Status {
    /// Whether traffic should come here: Kafka answers and takes what is written, and the first assignment is restored
    /// and caught up. A rebalance later is no reason to send it elsewhere.
    pub fn is_ready(&self) -> bool {
        self.kafka.connected && self.kafka.refusal().is_none() && self.group.is_restored()
    }
}

/// The cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KafkaStatus {
    /// Whether Kafka answers: something succeeded since a part of the service began to fail.
    pub connected: bool,
    /// What went wrong last, while it has not been put right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The brokers that lead partitions which were written to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BreakerStatus>,
    /// The topics that take nothing that is written to them, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<TopicRefusal>,
    /// What weakens a guarantee: replication, min.insync.replicas, unclean elections; for an hour, what was lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What happened of late that weakens one.
    #[serde(skip)]
    pub notices: Vec<Notice>,
}

/// Something that happened, which is told of for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub text: String,
    /// Until when.
    pub until: Instant,
}

impl KafkaStatus {
    /// A topic that takes nothing, as far as is known. A while after the last refusal that is not known any more: only
    /// what is written can find out.
    pub fn refusal(&self) -> Option<&TopicRefusal> {
        let now = Instant::now();
        self.refusals.iter().find(|refusal| now < refusal.at + TopicRefusal::STANDS)
    }
}

/// A topic that takes nothing, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TopicRefusal {
    /// Its name.
    pub topic: String,
    /// Why, and what is to be done.
    pub reason: String,
    /// When something was last refused.
    #[serde(skip)]
    pub at: Instant,
}

impl TopicRefusal {
    /// For so long after a refusal the next is expected.
    const STANDS: Duration = Duration::from_secs(5);

    /// Something was refused just now.
    pub(super) fn now(topic: &str, reason: &str) -> Self {
        Self { topic: topic.to_owned(), reason: reason.to_owned(), at: Instant::now() }
    }
}

/// A broker, as those see it who write to the partitions that it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BreakerStatus {
    /// Its address, `host:port`.
    pub broker: String,
    /// Whether events go to it.
    pub breaker: BreakerState,
}

/// The states of a circuit breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Events go to the broker.
    #[default]
    Closed,
    /// It can be reached again: one event a partition goes, to see whether it is written.
    HalfOpen,
    /// It hangs: events for its partitions are refused at once.
    Open,
}

/// The group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The group's id.
    pub id: String,
    /// Where this member is in the group's life.
    pub phase: GroupPhase,
    /// The group protocol it speaks, `classic` or `consumer`; empty before it speaks.
    pub protocol: &'static str,
    /// The assignor that the classic protocol's members agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignor: Option<&'static str>,
    /// The id that the coordinator knows this member by; empty before it joined.
    pub member: String,
    /// The group's generation; the member's epoch where the protocol is `consumer`.
    pub generation: i32,
    /// The partitions assigned to this member.
    pub partitions: Vec<PartitionStatus>,
    /// How many partitions the topic has; 0 while that is not known.
    #[serde(skip)]
    pub topic_partitions: usize,
    /// Whether every partition of the first assignment was restored and read to the end that it had then.
    pub caught_up: bool,
    /// The last rebalances of this member, the newest first.
    #[serde(skip)]
    pub rebalances: VecDeque<Rebalance>,
    /// Whether it has been without partitions for so long that none are to be expected. A new member gets some
    /// when the others have given them up, which is a moment later than its first assignment.
    #[serde(skip)]
    pub idle: bool,
    /// What went wrong last, while it has not been put right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl GroupStatus {
    /// How many rebalances are remembered.
    const MAX_REBALANCES: usize = 8;

    /// Whether the first assignment was restored and caught up, and this member has not left. Kafka may be away: what was
    /// restored is still there to be read.
    pub fn is_restored(&self) -> bool {
        self.caught_up && self.phase != GroupPhase::Left
    }

    /// Notes when the first assignment is restored and caught up.
    pub(super) fn update_caught_up(&mut self) {
        let at_work = self.phase == GroupPhase::Assigned && (self.idle || !self.partitions.is_empty());
        self.caught_up |= at_work && self.partitions.iter().all(PartitionStatus::is_caught_up);
    }

    /// Remembers a rebalance.
    pub(super) fn record_rebalance(&mut self, rebalance: Rebalance) {
        self.rebalances.truncate(Self::MAX_REBALANCES - 1);
        self.rebalances.push_front(rebalance);
    }
}

/// A change of what this member holds, or of the generation it holds it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// When it began, as far as this member knows.
    pub at: DateTime<Utc>,
    /// Why, as this member knows it: the coordinator tells no more than that there is one.
    pub reason: String,
    /// The generation that came of it; the member's epoch where the protocol is `consumer`.
    pub generation: i32,
    /// Until this member held what it was to hold.
    pub duration: Duration,
    /// The partitions that it did not hold before.
    pub assigned: BTreeSet<i32>,
    /// The partitions that it holds no more.
    pub revoked: BTreeSet<i32>,
}

/// The states of a member's life, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GroupPhase {
    /// Looking for the coordinator.
    #[default]
    Finding,
    /// Waiting for the group to gather.
    Joining,
    /// Waiting for the assignment.
    Syncing,
    /// At work.
    Assigned,
    /// Draining and committing before partitions are given up.
    Revoking,
    /// Out of the group, and not about to join.
    Left,
}

/// An assigned partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// Whether the projection is filled up to the committed offset.
    pub restored: bool,
    /// The next offset to be processed.
    pub position: i64,
    /// The offset committed last.
    pub committed: i64,
    /// The end of the log as last seen.
    pub end: i64,
    /// The end that the log had when this member took the partition up; `None` while that is not known.
    #[serde(skip)]
    pub goal: Option<i64>,
    /// How long nobody here processed it in the rebalance that brought it, or in the last one that it stayed
    /// through; `None` while it stands still for that reason.
    #[serde(skip)]
    pub paused: Option<Duration>,
    /// Why it stands still, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl PartitionStatus {
    /// Whether it is restored, and processed up to the end that it had when this member took it up.
    pub fn is_caught_up(&self) -> bool {
        self.restored && self.goal.is_some_and(|goal| self.position >= goal)
    }

    /// The offsets that are still to be processed; `None` while the log's end is not known.
    pub fn lag(&self) -> Option<u64> {
        self.goal.map(|_| u64::try_from(self.end - self.position).unwrap_or(0))
    }
}
