//! A Kafka client for services, in pure Rust: producers, consumer groups, retries and dead letters.
//!
//! # Overview
//!
//! * [`Kafka`] is a cluster. It connects when it is needed, and reconnects by itself.
//! * [`TypedTopic`] binds a topic's name to the type of its events. An [`Event`] has a key and is JSON by serde.
//!   [`Kafka::topic`] asks nothing of the cluster; the first producer or consumer creates the topic if it is missing.
//! * [`TypedProducer::send`] waits until all in-sync replicas have an event. Its error, [`PublishError`], says whether
//!   the event may have been written all the same. An [`Envelope`] carries CloudEvents' attributes in the headers.
//! * A consumer ([`TypedTopic::consumer`]) is a member of a group. It calls an [`EventHandler`] with the events of each
//!   assigned partition, in order. An [`Outcome`] says what becomes of an event: done, a retry, which holds up its
//!   partition, or poison, which goes to the dead letter topic. A [`BatchHandler`] gets many events at a time.
//! * [`dead_letter`] lists dead letters and sends them back. [`ConsumerBuilder::with_poison_in_order`] makes the later records
//!   of a key wait behind one that is poison.
//! * [`Kafka::status`] tells how the cluster, the producers and the consumer are.
//!
//! # Guarantees
//!
//! * Producing: acks=all, and idempotent (KIP-98): the events of a partition are in the order of the calls, and no retry
//!   writes one twice. A caller that sends an event again after an error writes it again.
//! * Consuming: at least once. Only the [`Watermark`] is committed, the offset below which all records are done. After
//!   a crash the records from the last commit on come again, so a handler has to tolerate repeats.
//! * A record that cannot be decoded, or that the handler finds to be poison, is done once it is in the dead letter
//!   topic. The records after it are processed without it, unless poison is in order.
//!
//! # Errors
//!
//! Errors of the cluster are retried with backoff, are logged once, and show in the [`Status`] until they pass. An
//! error is returned only for what the caller can act on: [`PublishError`] of a record, [`ConfigError`] of a setting.
//! An error displays its cause, too, and its `source` is below that: a chain that is printed says nothing twice.
//!
//! # Features
//!
//! `tls` (default) is TLS by rustls on ring. `schema` derives schemars' `JsonSchema` for [`Status`] and
//! [`dead_letter::RedriveReport`].
//!
//! # Layers
//!
//! Below the typed layer are the parts that know bytes only: [`Cluster`], [`Topic`], [`Producer`], [`Consumer`] with
//! its [`RecordHandler`], [`DlqPublisher`], and the [`StatusRegistry`] that they report to. Below them, [`wire`] has
//! connections, requests and responses. A Tokio runtime is needed throughout.
//!
//! # Example
//!
//! A consumer and a producer of greetings. `examples/` has two programs.
//!
//! ```
//! use std::borrow::Cow;
//!
//! use async_trait::async_trait;
//! use highwater_kafka::{
//!     ClusterConfig, ConsumerConfig, Event, EventHandler, Kafka, Outcome, ProducerConfig, Received, TopicConfig,
//! };
//! use serde::{Deserialize, Serialize};
//! use tokio::sync::mpsc;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Greeting {
//!     to: String,
//!     text: String,
//! }
//!
//! impl Event for Greeting {
//!     fn key(&self) -> Cow<'_, str> {
//!         self.to.as_str().into()
//!     }
//!
//!     fn event_type(&self) -> Cow<'_, str> {
//!         "Greeting".into()
//!     }
//! }
//!
//! /// Sends every greeting to a channel.
//! struct Forward(mpsc::UnboundedSender<String>);
//!
//! #[async_trait]
//! impl EventHandler<Greeting> for Forward {
//!     async fn handle(&self, received: Received<'_, Greeting>) -> Outcome {
//!         match self.0.send(received.event.text) {
//!             Ok(()) => Outcome::Done,
//!             Err(closed) => Outcome::Retry(closed.to_string()),
//!         }
//!     }
//! }
//!
//! async fn example(brokers: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
//!     let (sender, mut receiver) = mpsc::unbounded_channel();
//!     let kafka = Kafka::new(ClusterConfig::new(brokers))?;
//!     let greetings = kafka.topic::<Greeting>(TopicConfig::new("greetings"));
//!     let consumer = greetings.consumer(ConsumerConfig::new("greeters")).start(Forward(sender));
//!     let producer = greetings.producer(ProducerConfig::default());
//!
//!     let greeting = Greeting { to: "world".to_owned(), text: "hello".to_owned() };
//!     let receipt = producer.send(greeting).await?;
//!     println!("written to partition {} at offset {:?}", receipt.partition, receipt.offset);
//!     assert_eq!(receiver.recv().await.as_deref(), Some("hello"));
//!
//!     producer.close().await; // waits for the records in the queue
//!     consumer.stop().await; // drains, commits, leaves the group
//!     Ok(())
//! }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     let broker = highwater_kafka_broker::Broker::start(Default::default()).await?;
//! #     let all = example(vec![broker.bootstrap()]);
//! #     tokio::time::timeout(std::time::Duration::from_secs(30), all).await?
//! # }
//! ```

mod backoff;
mod breaker;
mod cluster;
mod config;
mod connector;
mod consumer;
mod counts;
pub mod dead_letter;
mod deletion;
mod envelope;
mod event_handler;
mod fetch_position;
pub mod group;
mod handler;
mod headers;
mod interceptor;
mod kafka;
mod leader;
mod message;
mod partitioner;
mod payload;
mod producer;
mod publisher;
mod rskafka_client;
pub mod security;
mod staggered;
mod status;
mod status_registry;
mod topic;
pub mod wire;

pub use backoff::Backoff;
pub use cluster::Cluster;
pub use config::{ClusterConfig, ConfigError, ConsumerConfig, OffsetReset, ProducerConfig, TopicConfig};
pub use connector::{ByteStream, Connector};
pub use consumer::{Consumer, ReadError, Reader, Watermark};
pub use counts::{ConsumerCounts, ProducerMetrics};
pub use dead_letter::DlqPublisher;
pub use envelope::{CORRELATION_ID, Context, Envelope, correlation_of};
pub use event_handler::{Batch, BatchHandler, DecodingHandler, EventHandler, Outcome};
pub use fetch_position::{FetchPosition, LeaderEpochs};
// For its tests: consumers write and read it themselves.
#[doc(hidden)]
pub use group::CommittedOffset;
pub use handler::{
    BatchLimits, BatchOutcome, LogState, Poison, RecordHandler, RetryFrom, StartFrom, TransientError,
};
pub use headers::Headers;
pub use interceptor::{Interceptor, OnAcknowledgement, ProcessedBatch};
pub use kafka::{ConsumerBuilder, ConsumerHandle, Kafka, TypedProducer, TypedTopic};
pub use message::{Message, Receipt, Record};
pub use partitioner::partition_for_key;
pub use payload::{Event, Malformed, Payload, Received};
pub use producer::Producer;
pub use publisher::{Delivery, PublishError, Publisher};
pub use rskafka_client::{CallError, ClientError, EndOffsets};
pub use status::{
    BreakerState, BreakerStatus, GroupPhase, GroupStatus, KafkaStatus, Notice, PartitionStatus, Rebalance,
    Status, TopicRefusal,
};
pub use status_registry::StatusRegistry;
pub use topic::{Topic, TopicDescription, describe, exists, settings};

/// Only for fuzzing and the tests of the workspace; no part of the API.
#[doc(hidden)]
pub mod internals {
    pub use crate::{partitioner::murmur2, wire::internals::*};
}
