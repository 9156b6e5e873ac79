//! Highwater takes events in over REST, carries them through Kafka, stores each once by its id and
//! answers queries about them. It is also the library it is built on.
//!
//! ```text
//! client ─POST─▶ http ─▶ activity/routes ─▶ kafka/producer ═▶ Kafka ═╗
//!                                                                    ║
//! client ◀─GET── http ◀─ activity/routes ◀─ store ◀─ processor ◀─ kafka/consumer
//!                                                         │             ▲ │
//!                                                         │   kafka/group: who owns
//!                                                         │   which partition, commits
//!                                                         └▶ dead letters
//! ```
//!
//! # Layout
//!
//! * [`config`][]: every setting, its variable, its default, in one place
//! * [`activity`][]: the main service: its events, its routes, its processor
//! * [`store`][]: where processed events are; knows no Kafka
//! * [`telemetry`][]: logs
//!
//! And the crates under it:
//!
//! * [`highwater_kafka`]: producing, consumer groups and dead letters; knows no event, no route, no store
//! * [`highwater_web`]: REST plumbing without a business word, and what services share
//! * [`highwater_commerce`]: users and orders; `highwater_table`: the state by the log under them
//! * [`highwater_eventlog`]: the event log in SQL Server and DynamoDB
//! * `highwater_kafka_broker`: the in-process Kafka broker; speaks the protocol over TCP and nothing else
//!
//! Their manifests say what may use what; only `config` reads the environment.

#![forbid(unsafe_code)]

pub mod activity;
pub mod config;
#[cfg(feature = "embedded-broker")]
pub mod embedded;
pub mod selftest;
pub mod store;
pub mod telemetry;
