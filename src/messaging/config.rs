//! The settings of this room. Their variables, defaults and bounds are in the crate's `config`.

use std::time::Duration;

use super::{
    group::{Assignor, GroupProtocol},
    security::Security,
};

/// How to reach the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Bootstrap addresses, `host:port`; at least one.
    pub brokers: Vec<String>,
    /// TLS and SASL, for every connection.
    pub security: Security,
    /// The name brokers see in their logs and quotas.
    pub client_id: String,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long any one call may take.
    pub request_timeout: Duration,
}

/// What a topic gets when it is missing and is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Its name.
    pub name: String,
    /// The number of partitions.
    pub partitions: i32,
    /// Copies of each partition; `None` is three, or as many as there are brokers.
    pub replication_factor: Option<i16>,
    /// How long records are kept; `None` is without limit.
    pub retention: Option<Duration>,
    /// The largest batch of records the topic takes, in bytes.
    pub max_message_bytes: i32,
}

/// How records are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerConfig {
    /// From the call to the acknowledgement, retries included.
    pub timeout: Duration,
    /// The most records that wait.
    pub queue_records: usize,
    /// The most bytes that wait.
    pub queue_bytes: usize,
    /// The most bytes in one batch; a larger record travels alone.
    pub batch_max_bytes: usize,
    /// A broker that answers nothing for so long gets no more records until it answers.
    pub breaker_after: Duration,
}

/// How records are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// The consumer group.
    pub group_id: String,
    /// How the group's coordinator is spoken to.
    pub protocol: GroupProtocol,
    /// The assignors that the classic protocol is to choose from, the one liked best first; at least one.
    pub assignors: Vec<Assignor>,
    /// The name that this member keeps through restarts (KIP-345); unique in the group.
    pub instance_id: Option<String>,
    /// A member that was not heard of for so long is out of the group.
    pub session_timeout: Duration,
    /// How long members may take to drain and join again.
    pub rebalance_timeout: Duration,
    /// How often a member makes itself heard; well below the session time-out.
    pub heartbeat_interval: Duration,
    /// A member that is at one call of its handler for longer is out of the group.
    pub max_processing: Duration,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// Where to start without a committed offset.
    pub offset_reset: OffsetReset,
    /// How often to look for new partitions.
    pub metadata_max_age: Duration,
    /// The most bytes of one fetch of one partition.
    pub fetch_max_bytes: i32,
}

/// Where to start without a committed offset, or where that offset is out of the log's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// After the last.
    Latest,
}
