//! Kafka for services, in pure Rust on rskafka: a producer, a consumer in a group, dead letters.
//!
//! Knows no event, no route and no store: what a record means is the [`Handler`]'s business.
//!
//! # Who does what
//!
//! * A [`Cluster`] is the way to the brokers; one serves a whole process and connects when it is needed.
//! * A [`Topic`] is created when it is missing, and followed: new partitions are noticed.
//! * A [`Producer`] sends to one topic. [`Publisher::publish`] resolves when all in-sync replicas have the
//!   record, or with a [`PublishError`] that says whether it may have been written all the same.
//! * A [`Consumer`] is a member of a group. It calls its [`Handler`] with the records of each partition it is
//!   assigned, in order, and commits the [`Watermark`]: the offset below which everything is done.
//! * [`DeadLetters`] take what the handler calls [`Poison`]. A failure that passes ([`Stopped`]) is tried again,
//!   and nothing after it in that partition is touched before it is done.
//! * A [`Board`] knows how all of them are; [`Board::watch`] follows it.
//!
//! Records are delivered at least once: after a crash, what followed the last commit comes again. A handler
//! that must act once has to know what it has done, as the activity service's store does by eventId.
//!
//! # Example
//!
//! A consumer that tells what it reads, and a producer that gives it something to read.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use async_trait::async_trait;
//! use chrono::Utc;
//! use highwater::messaging::{
//!     Board, Cluster, ClusterConfig, Consumer, ConsumerConfig, DeadLetters, Handler, Message, OffsetReset,
//!     Poison, Producer, ProducerConfig, Publisher as _, Record, Topic, TopicConfig, Verdict,
//!     group::{Assignor, GroupProtocol}, security::Security,
//! };
//! use tokio::sync::mpsc;
//!
//! /// Passes every value on. A record without one can never be processed: it goes to the dead letters.
//! struct Tell(mpsc::UnboundedSender<Vec<u8>>);
//!
//! #[async_trait]
//! impl Handler for Tell {
//!     async fn handle(&self, records: &[Record]) -> Verdict {
//!         let mut verdict = Verdict::default();
//!         for (index, record) in records.iter().enumerate() {
//!             match &record.value {
//!                 Some(value) => drop(self.0.send(value.to_vec())),
//!                 None => verdict.poison.push(Poison {
//!                     index,
//!                     reason: "there is no value".to_owned(),
//!                 }),
//!             }
//!         }
//!         verdict
//!     }
//! }
//!
//! async fn example(brokers: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
//!     let cluster = Arc::new(Cluster::new(ClusterConfig {
//!         brokers,
//!         security: Security::default(), // plain TCP, and nobody is asked who it is
//!         client_id: "example".to_owned(),
//!         connect_timeout: Duration::from_secs(1),
//!         request_timeout: Duration::from_secs(5),
//!     }));
//!     let board = Arc::new(Board::new());
//!     let topic = |name: &str| {
//!         let config = TopicConfig {
//!             name: name.to_owned(),
//!             partitions: 3,
//!             replication_factor: None, // three, or as many as there are brokers
//!             retention: Some(Duration::from_secs(7 * 24 * 3600)),
//!             max_message_bytes: 1_048_588,
//!         };
//!         Topic::follow(Arc::clone(&cluster), config, Duration::from_secs(30), Arc::clone(&board))
//!     };
//!     let producer = |topic: Topic| {
//!         let config = ProducerConfig {
//!             timeout: Duration::from_secs(5),
//!             queue_records: 10_000,
//!             queue_bytes: 64 << 20,
//!             batch_max_bytes: 512 << 10,
//!             breaker_after: Duration::from_secs(3),
//!         };
//!         Arc::new(Producer::new(Arc::clone(&cluster), topic, config, Arc::clone(&board)))
//!     };
//!     let greetings = topic("greetings");
//!     let (tell, mut told) = mpsc::unbounded_channel();
//!     let consumer = Consumer::start(
//!         Arc::clone(&cluster),
//!         greetings.clone(),
//!         ConsumerConfig {
//!             group_id: "example-group".to_owned(),
//!             protocol: GroupProtocol::Classic,
//!             assignors: vec![Assignor::CooperativeSticky],
//!             instance_id: None,
//!             session_timeout: Duration::from_secs(10),
//!             rebalance_timeout: Duration::from_secs(60),
//!             heartbeat_interval: Duration::from_secs(3),
//!             max_processing: Duration::from_secs(300),
//!             commit_interval: Duration::from_secs(1),
//!             offset_reset: OffsetReset::Earliest,
//!             metadata_max_age: Duration::from_secs(30),
//!             fetch_max_bytes: 1 << 20,
//!         },
//!         Arc::new(Tell(tell)),
//!         DeadLetters::new(producer(topic("greetings.dlq")), "greetings", "example-group"),
//!         Arc::clone(&board),
//!     );
//!
//!     let greeter = producer(greetings);
//!     let receipt = greeter
//!         .publish(Message {
//!             key: Some(b"world".to_vec()),
//!             value: Some(b"hello".to_vec()),
//!             headers: Vec::new(),
//!             timestamp: Utc::now(),
//!             partition: None, // the key decides
//!         })
//!         .await?;
//!     println!("written to partition {} at offset {}", receipt.partition, receipt.offset);
//!     assert_eq!(told.recv().await.as_deref(), Some(b"hello".as_slice()));
//!
//!     greeter.close().await; // what is queued is acknowledged, or out of time
//!     consumer.stop().await; // drains, commits, leaves the group
//!     Ok(())
//! }
//! # #[cfg(feature = "embedded-broker")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     let broker = highwater::embedded::Broker::start(Default::default()).await?;
//! #     let all = example(vec![broker.bootstrap()]);
//! #     tokio::time::timeout(Duration::from_secs(30), all).await?
//! # }
//! # #[cfg(not(feature = "embedded-broker"))]
//! # fn main() {}
//! ```

mod backoff;
mod board;
mod cluster;
mod config;
mod consumer;
mod counts;
pub mod dead_letter;
pub mod group;
mod handler;
mod message;
mod nodelay;
mod partitioner;
mod producer;
mod publisher;
mod removal;
pub mod security;
mod status;
mod topic;
pub mod wire;

pub use board::Board;
pub use cluster::{CallError, Cluster};
pub use config::{ClusterConfig, ConsumerConfig, OffsetReset, ProducerConfig, TopicConfig};
pub use consumer::{Consumer, Watermark};
pub use counts::{ConsumerCounts, ProducerFigures};
pub use dead_letter::DeadLetters;
pub use handler::{Handler, Passing, Poison, Stopped, Verdict};
pub use message::{Message, Receipt, Record};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::Producer;
pub use publisher::{PublishError, Publisher};
pub use status::{
    BreakerState, BreakerStatus, GroupPhase, GroupStatus, KafkaStatus, PartitionStatus, Rebalance, Status,
};
pub use topic::Topic;
