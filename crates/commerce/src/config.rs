//! The settings of both services.

use std::sync::Arc;

use highwater_kafka::{ClusterConfig, ConfigError, ConsumerConfig, Kafka, ProducerConfig, TopicConfig};
use highwater_web::{
    http::{self, AdminAuth, BearerToken, Traffic},
    operations::Operations,
    shutdown::Shutdown,
    trace::RecordTraces,
};

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

impl Config {
    /// The cluster of a service whose events have that source.
    pub(crate) fn kafka(&self, source: &str) -> Result<Kafka, ConfigError> {
        let traces = Arc::new(RecordTraces::new(self.http.tracer.clone()));
        let kafka = Kafka::new(self.kafka.clone().with_interceptor(Some(traces)))?;
        Ok(kafka.with_source(source).with_metadata_max_age(self.consumer.metadata_max_age))
    }

    /// The operations of that service, as far as its configuration tells.
    pub(crate) fn operations(
        &self,
        service: &'static str,
        kafka: &Kafka,
        traffic: &Arc<Traffic>,
        shutdown: &Shutdown,
    ) -> Operations {
        let has_admins = self.admin.is_some() || self.http.auth.is_on();
        Operations {
            warnings: self.http.warnings(),
            embedded: self.embedded,
            shutdown: shutdown.clone(),
            admin_auth: has_admins.then(|| Arc::new(AdminAuth::new(self.admin.clone()))),
            ..Operations::new(service, kafka.status(), Arc::clone(traffic))
        }
    }
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
