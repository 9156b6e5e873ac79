//! Kafka for services, in pure Rust on rskafka: a producer, a consumer in a group, dead letters.
//!
//! Knows no event, no route and no store: what a record means is the [`RecordHandler`]'s business.
//!
//! # Who does what
//!
//! * [`Kafka`] is a cluster, as one process speaks to it. It connects when it is needed, and heals by itself.
//! * A [`TypedTopic`] binds a topic's name to the [`Event`]s in it, which say their key and their JSON. It is
//!   created when it is missing.
//! * A [`TypedProducer`] sends them. [`TypedProducer::send`] resolves when all in-sync replicas have the
//!   event, or with a [`PublishError`] that says whether it may have been written all the same. What is to be
//!   told of an event beside its value travels in its [`Envelope`]: CloudEvents' headers.
//! * A consumer is a member of a group. It calls its [`EventHandler`] with the events of each partition that it is
//!   assigned, in order, and commits the [`Watermark`]: the offset below which everything is done.
//!   [`Outcome::Poison`] goes to the dead letters; [`Outcome::Retry`] is tried again, and nothing after it in that
//!   partition is touched before it is done. Who gains by batches is a [`BatchHandler`].
//! * [`Kafka::status`] tells how all of them are.
//!
//! Events are delivered at least once: after a crash, what followed the last commit comes again. A handler
//! that must act once has to know what it has done, as the activity service's store does by eventId.
//!
//! Below the face are the parts that it is made of, which know bytes only: [`Cluster`], [`Topic`], [`Producer`],
//! [`Consumer`] with its [`RecordHandler`], [`DlqPublisher`] and the [`StatusRegistry`].
//!
//! # Example
//!
//! A consumer that tells what it reads, and a producer that gives it something to read. Two whole programs are
//! in `examples/`.
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
//! /// Passes every greeting on.
//! struct Tell(mpsc::UnboundedSender<String>);
//!
//! #[async_trait]
//! impl EventHandler<Greeting> for Tell {
//!     async fn handle(&self, received: Received<'_, Greeting>) -> Outcome {
//!         match self.0.send(received.event.text) {
//!             Ok(()) => Outcome::Done,
//!             Err(closed) => Outcome::Retry(closed.to_string()),
//!         }
//!     }
//! }
//!
//! async fn example(brokers: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
//!     let (tell, mut told) = mpsc::unbounded_channel();
//!     let kafka = Kafka::new(ClusterConfig::new(brokers))?;
//!     let greetings = kafka.topic::<Greeting>(TopicConfig::new("greetings"));
//!     let consuming = greetings.consumer(ConsumerConfig::new("greeters")).start(Tell(tell));
//!     let producer = greetings.producer(ProducerConfig::default());
//!
//!     let greeting = Greeting { to: "world".to_owned(), text: "hello".to_owned() };
//!     let receipt = producer.send(greeting).await?;
//!     println!("written to partition {} at offset {}", receipt.partition, receipt.offset);
//!     assert_eq!(told.recv().await.as_deref(), Some("hello"));
//!
//!     producer.close().await; // what is queued is acknowledged, or out of time
//!     consuming.stop().await; // drains, commits, leaves the group
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
mod cluster;
mod config;
mod consumer;
mod counts;
pub mod dead_letter;
mod deletion;
mod envelope;
mod event_handler;
pub mod group;
mod handler;
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
pub use consumer::{CommittedOffset, Consumer, ReadError, Reader, Watermark};
pub use counts::{ConsumerCounts, ProducerMetrics};
pub use dead_letter::DlqPublisher;
pub use envelope::{CORRELATION_ID, Context, Envelope, correlation_of};
pub use event_handler::{Batch, BatchHandler, DecodingHandler, EventHandler, Outcome};
pub use handler::{BatchOutcome, Poison, RecordHandler, RetryFrom, TransientError};
pub use kafka::{ConsumerBuilder, ConsumerHandle, Kafka, TypedProducer, TypedTopic};
pub use message::{Message, Receipt, Record};
pub use partitioner::{murmur2, partition_for_key};
pub use payload::{Event, Malformed, Payload, Received};
pub use producer::Producer;
pub use publisher::{PublishError, Publisher};
pub use rskafka_client::{CallError, ClientError, EndOffsets};
pub use status::{
    BreakerState, BreakerStatus, GroupPhase, GroupStatus, KafkaStatus, Notice, PartitionStatus, Rebalance,
    Status, TopicRefusal,
};
pub use status_registry::StatusRegistry;
pub use topic::{Topic, TopicDescription, describe, exists, settings};
