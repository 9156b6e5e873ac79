//! The settings of the library. It reads no environment: an application sets them, and names its own variables.

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;

use super::{connector::Connector, interceptor::Interceptor, security::Security};

/// A setting that cannot be used, by the name of its field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// [`ClusterConfig::brokers`] is empty.
    #[error("brokers: at least one bootstrap address is needed")]
    NoBrokers,
}

/// Implements the builder's methods of a configuration, one a field.
macro_rules! setters {
    ($config:ident { $($setter:ident($field:ident: $type:ty)),+ $(,)? }) => {
        impl $config {
            $(
                #[doc = concat!("Sets [`", stringify!($config), "::", stringify!($field), "`].")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

/// The addresses of a cluster, and the settings of its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Bootstrap addresses, `host:port`; at least one.
    pub brokers: Vec<String>,
    /// TLS and SASL of every connection. None by default.
    pub security: Security,
    /// Opens the streams to brokers. `None`, the default, is TCP.
    pub connector: Option<Arc<dyn Connector>>,
    /// Sees the records of all producers and consumers. None by default.
    pub interceptor: Option<Arc<dyn Interceptor>>,
    /// The name that brokers see in their logs and quotas. `highwater` by default.
    pub client_id: String,
    /// The timeout of connecting, TLS and the first response included. 1 s by default.
    pub connect_timeout: Duration,
    /// The timeout of a request that the broker does not hold on purpose. 5 s by default.
    pub request_timeout: Duration,
}

impl ClusterConfig {
    /// The cluster that has brokers at these addresses.
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            security: Security::default(),
            connector: None,
            interceptor: None,
            client_id: "highwater".to_owned(),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
        }
    }

    /// Checks what can be checked without a connection.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.brokers.is_empty() { Err(ConfigError::NoBrokers) } else { Ok(()) }
    }
}

setters!(ClusterConfig {
    with_security(security: Security),
    with_connector(connector: Option<Arc<dyn Connector>>),
    with_interceptor(interceptor: Option<Arc<dyn Interceptor>>),
    with_client_id(client_id: String),
    with_connect_timeout(connect_timeout: Duration),
    with_request_timeout(request_timeout: Duration),
});

/// The most bytes by which a dead letter may be larger than its record.
const DEAD_LETTER_HEADERS: i32 = 64 * 1024;

/// A topic's name, and the settings of its creation if it is missing. An existing topic is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicConfig {
    /// The topic's name.
    pub name: String,
    /// The number of partitions. 3 by default.
    pub partitions: i32,
    /// The number of replicas of each partition. `None`, the default, is 3, or one a broker if there are fewer. A topic
    /// that is missing later is created with at least as many as it had.
    pub replication_factor: Option<i16>,
    /// `retention.ms`. 7 days by default; `None` is without limit.
    pub retention: Option<Duration>,
    /// `max.message.bytes`: the largest batch of records, in bytes. 1,048,588 by default, as Kafka's.
    pub max_message_bytes: i32,
}

impl TopicConfig {
    /// The topic of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 3,
            replication_factor: None,
            retention: Some(Duration::from_secs(7 * 24 * 60 * 60)),
            max_message_bytes: 1_048_588,
        }
    }

    /// Its dead letter topic: `.dlq` after the name, 64 KiB more a batch for the headers about the failure, all else the
    /// same.
    #[must_use]
    pub fn dead_letters(&self) -> Self {
        Self {
            name: format!("{}.dlq", self.name),
            max_message_bytes: self.max_message_bytes.saturating_add(DEAD_LETTER_HEADERS),
            ..self.clone()
        }
    }
}

setters!(TopicConfig {
    with_name(name: String),
    with_partitions(partitions: i32),
    with_replication_factor(replication_factor: Option<i16>),
    with_retention(retention: Option<Duration>),
    with_max_message_bytes(max_message_bytes: i32),
});

/// The settings of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// The time from the call to the acknowledgement, retries included (`delivery.timeout.ms` in Java). 5 s by default. All
    /// messages together wait so long for a topic that is not known yet. Later ones are refused at once until it is known.
    pub timeout: Duration,
    /// The most records that wait for an acknowledgement. 10,000 by default.
    pub queue_records: usize,
    /// The most bytes that wait for an acknowledgement (`buffer.memory` in Java). 64 MiB by default.
    pub queue_bytes: usize,
    /// The most bytes of a batch; a larger record is a batch of its own. 512 KiB by default.
    pub batch_max_bytes: usize,
    /// The circuit breaker of a broker opens after that time without a response. 3 s by default.
    pub breaker_after: Duration,
    /// Whether brokers recognise a batch that is sent again, so that no retry writes it twice (`enable.idempotence` in
    /// Java). On by default. A cluster that does not allow it is written to without, and a warning says so.
    pub idempotence: bool,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            queue_records: 10_000,
            queue_bytes: 64 << 20,
            batch_max_bytes: 512 << 10,
            breaker_after: Duration::from_secs(3),
            idempotence: true,
        }
    }
}

setters!(ProducerConfig {
    with_timeout(timeout: Duration),
    with_queue_records(queue_records: usize),
    with_queue_bytes(queue_bytes: usize),
    with_batch_max_bytes(batch_max_bytes: usize),
    with_breaker_after(breaker_after: Duration),
    with_idempotence(idempotence: bool),
});

/// The settings of a member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// The consumer group.
    pub group_id: String,
    /// The group protocol: classic, the default, or KIP-848's.
    pub protocol: GroupProtocol,
    /// The assignors of the classic protocol, the preferred one first; at least one. Cooperative-sticky by default.
    pub assignors: Vec<Assignor>,
    /// The name of a static member (KIP-345), unique in the group. None by default.
    pub instance_id: Option<String>,
    /// Whether a static member leaves the group when it is stopped (KIP-1092). It keeps its partitions until its
    /// session is over by default. A dynamic member always leaves.
    pub leave_on_stop: bool,
    /// The longest silence of a member before it is out of the group. 10 s by default.
    pub session_timeout: Duration,
    /// The time in which members have to drain and join again. 60 s by default.
    pub rebalance_timeout: Duration,
    /// The time between heartbeats; a third of the session timeout at most. 3 s by default.
    pub heartbeat_interval: Duration,
    /// The longest call of a member's handler before the member is out of the group (`max.poll.interval.ms` in Java). 5 min
    /// by default.
    pub max_processing: Duration,
    /// The time between commits. 1 s by default.
    pub commit_interval: Duration,
    /// The start without a committed offset. The first record by default.
    pub offset_reset: OffsetReset,
    /// The time between looks for new partitions. 30 s by default.
    pub metadata_max_age: Duration,
    /// The most bytes of one fetch of one partition; a larger batch comes whole. 1 MiB by default.
    pub fetch_max_bytes: i32,
}

impl ConsumerConfig {
    /// A member of that group.
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

setters!(ConsumerConfig {
    with_protocol(protocol: GroupProtocol),
    with_assignors(assignors: Vec<Assignor>),
    with_instance_id(instance_id: Option<String>),
    with_leave_on_stop(leave_on_stop: bool),
    with_session_timeout(session_timeout: Duration),
    with_rebalance_timeout(rebalance_timeout: Duration),
    with_heartbeat_interval(heartbeat_interval: Duration),
    with_max_processing(max_processing: Duration),
    with_commit_interval(commit_interval: Duration),
    with_offset_reset(offset_reset: OffsetReset),
    with_metadata_max_age(metadata_max_age: Duration),
    with_fetch_max_bytes(fetch_max_bytes: i32),
});

/// The start without a committed offset, or if that offset is out of the log's range (`auto.offset.reset` in Java).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// After the last record.
    Latest,
}

/// The protocol with the coordinator, as Kafka's setting `group.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// JoinGroup, SyncGroup, Heartbeat: every broker supports it.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848): Kafka 4.0 and later.
    Consumer,
    /// [`GroupProtocol::Consumer`] if the broker supports it, else [`GroupProtocol::Classic`].
    Auto,
}

/// A rule that assigns partitions to members, as Kafka's setting `partition.assignment.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Each topic's partitions in ranges; a rebalance revokes all partitions (`RangeAssignor`).
    Range,
    /// Even shares; a partition stays where it is if it can (`CooperativeStickyAssignor`, KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// All assignors.
    pub const ALL: [Self; 2] = [Self::Range, Self::CooperativeSticky];

    /// Its name in the protocol and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
