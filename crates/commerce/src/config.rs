//! The settings of both services.

use highwater_kafka::{ClusterConfig, ConsumerConfig, ProducerConfig, TopicConfig};
use highwater_web::http::{self, BearerToken};

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Kafka.
    pub kafka: ClusterConfig,
    /// Whether Kafka is a broker inside this process.
    pub embedded: bool,
    /// The settings of producers.
    pub producer: ProducerConfig,
    /// The settings of consumers.
    pub consumer: ConsumerConfig,
    /// The HTTP server.
    pub http: http::Config,
    /// The admin token, which shows addresses; nobody sees them where it is unset.
    pub admin: Option<BearerToken>,
    /// The topics of users and orders.
    pub state: StateConfig,
}

/// The topics of the state. They have no limit, and as many partitions as every instance is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// The topic of the users.
    pub users: TopicConfig,
    /// The topic of the orders.
    pub orders: TopicConfig,
    /// The most memory of all state, in bytes, about; beyond it nothing new is accepted.
    pub max_bytes: usize,
}
