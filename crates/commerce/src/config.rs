//! Settings of both services.

use highwater_kafka::{ClusterConfig, ConsumerConfig, ProducerConfig, TopicConfig};
use highwater_web::http::{self, BearerToken};

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Kafka.
    pub kafka: ClusterConfig,
    /// Whether that is a broker inside this process.
    pub embedded: bool,
    /// How events are sent.
    pub producer: ProducerConfig,
    /// How events are read.
    pub consumer: ConsumerConfig,
    /// How the service is reached.
    pub http: http::Config,
    /// The admin token, which shows addresses; nobody sees them where it is unset.
    pub admin: Option<BearerToken>,
    /// Where users and orders are kept.
    pub state: StateConfig,
}

/// The topics that state is kept in: without limit, in as many partitions as all instances say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// That of the users.
    pub users: TopicConfig,
    /// That of the orders.
    pub orders: TopicConfig,
    /// About what all of it may take in memory, in bytes; beyond it nothing new is taken.
    pub max_bytes: usize,
}
