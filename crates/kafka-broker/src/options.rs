//! The settings of the broker.

use std::{ops::RangeInclusive, time::Duration};

use kafka_protocol::messages::ApiKey;

/// The settings of the broker.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on loopback; 0 lets the system choose.
    pub port: u16,
    /// The advertised port on loopback (`advertised.listeners`); its own if `None`.
    pub advertised_port: Option<u16>,
    /// The cluster's id (KIP-78).
    pub cluster_id: String,
    /// The partitions of a topic that is created without a number (`num.partitions`).
    pub default_partitions: i32,
    /// Whether Metadata of an unknown topic creates it, unless the client forbids that
    /// (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// The range of session timeouts (`group.min.session.timeout.ms` and `.max.`).
    pub session_timeouts: RangeInclusive<Duration>,
    /// The session timeout of members of the consumer protocol (`group.consumer.session.timeout.ms`).
    pub consumer_session_timeout: Duration,
    /// The heartbeat interval that the coordinator tells them (`group.consumer.heartbeat.interval.ms`).
    pub consumer_heartbeat_interval: Duration,
    /// A connection that is idle for so long is closed (`connections.max.idle.ms`).
    pub idle_timeout: Duration,
    /// The least time between two updates of the metadata on a node of several. It learns of a change so late at most.
    pub metadata_delay: Duration,
    /// A replica that has not caught up for so long is not in sync (`replica.lag.time.max.ms`).
    pub replica_lag: Duration,
    /// The least time for which a node that begins to coordinate loads its groups.
    pub group_load_time: Duration,
    /// For each API the first version that it does not speak, as an older broker; 0 for the whole API.
    pub lacks: Vec<(ApiKey, i16)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            advertised_port: None,
            cluster_id: "embedded".to_owned(),
            default_partitions: 3,
            auto_create_topics: true,
            session_timeouts: Duration::from_secs(6)..=Duration::from_secs(30 * 60),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(10 * 60),
            metadata_delay: Duration::ZERO,
            replica_lag: Duration::from_secs(30),
            group_load_time: Duration::ZERO,
            lacks: Vec::new(),
        }
    }
}
