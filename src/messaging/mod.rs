//! Kafka for services, in pure Rust on rskafka: a producer, a consumer in a group, dead letters.
//!
//! Knows no event, no route and no store: what a record means is the [`Handler`]'s business.

mod backoff;
mod board;
mod cluster;
mod config;
mod consumer;
pub mod dead_letter;
pub mod group;
mod handler;
mod message;
mod nodelay;
mod partitioner;
mod producer;
mod publisher;
mod status;
mod topic;
pub mod wire;

pub use board::Board;
pub use cluster::{CallError, Cluster};
pub use config::{ClusterConfig, ConsumerConfig, OffsetReset, ProducerConfig, TopicConfig};
pub use consumer::{Consumer, Watermark};
pub use dead_letter::DeadLetters;
pub use handler::{Handler, Passing, Poison, Stopped, Verdict};
pub use message::{Message, Receipt, Record};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::Producer;
pub use publisher::{PublishError, Publisher};
pub use status::{GroupPhase, GroupStatus, KafkaStatus, PartitionStatus, Status};
pub use topic::Topic;
