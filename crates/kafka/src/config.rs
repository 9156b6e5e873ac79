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

impl ClusterConfig {
    /// The cluster at these addresses, with a second for a connection and five for a call.
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            security: Security::default(),
            client_id: "highwater".to_owned(),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// What a dead letter may be larger than its record.
const DEAD_LETTER_HEADERS: i32 = 64 * 1024;

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

impl TopicConfig {
    /// A topic of that name: three partitions, three copies or as many as there are brokers, seven days, and
    /// Kafka's own bound of a batch.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 3,
            replication_factor: None,
            retention: Some(Duration::from_secs(7 * 24 * 60 * 60)),
            max_message_bytes: 1_048_588,
        }
    }

    /// That of its dead letters: alike, but for the name, which has `.dlq` after it, and room for the headers that
    /// say what happened.
    pub fn dead_letters(&self) -> Self {
        Self {
            name: format!("{}.dlq", self.name),
            max_message_bytes: self.max_message_bytes.saturating_add(DEAD_LETTER_HEADERS),
            ..self.clone()
        }
    }
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

impl Default for ProducerConfig {
    /// Five seconds for a record; a queue of 10,000 records or 64 MiB; batches of half a MiB; three seconds
    /// of silence before a broker is left alone.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            queue_records: 10_000,
            queue_bytes: 64 << 20,
            batch_max_bytes: 512 << 10,
            breaker_after: Duration::from_secs(3),
        }
    }
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
    /// Whether a member with an instance id leaves when it is stopped (KIP-1092), in place of keeping its partitions
    /// until its session is over; others do in any case.
    pub leave_on_stop: bool,
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

impl ConsumerConfig {
    /// A member of that group, by the classic protocol, with Kafka's own intervals but for a shorter session;
    /// begins at the first record there is.
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            protocol: GroupProtocol::Classic,
            assignors: vec![Assignor::CooperativeSticky],
            instance_id: None,
            leave_on_stop: false,
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(3),
            max_processing: Duration::from_secs(300),
            commit_interval: Duration::from_secs(1),
            offset_reset: OffsetReset::Earliest,
            metadata_max_age: Duration::from_secs(30),
            fetch_max_bytes: 1 << 20,
        }
    }
}

/// Where to start without a committed offset, or where that offset is out of the log's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// After the last.
    Latest,
}
