//! Kafka for services, in pure Rust on rskafka: a producer, a consumer in a group, dead letters.
//!
//! Knows no event, no route and no store: what a record means is the [`Handler`]'s business.

mod config;
mod handler;
mod message;
mod publisher;
mod status;

pub use config::{ClusterConfig, ConsumerConfig, OffsetReset, ProducerConfig, TopicConfig};
pub use handler::{Handler, Passing, Poison, Stopped, Verdict};
pub use message::{Message, Receipt, Record};
pub use publisher::{PublishError, Publisher};
pub use status::{GroupPhase, GroupStatus, KafkaStatus, PartitionStatus, Status};
