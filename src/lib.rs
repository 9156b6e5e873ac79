//! Highwater takes user events over REST, carries them through Kafka, stores each once by its id and answers queries about
//! them. This crate is the program; the crates below can be used without it.
//!
//! ```text
//! client ─POST─▶ http ─▶ activity/routes ─▶ kafka/producer ═▶ Kafka ═╗
//!                                                                    ║
//! client ◀─GET── http ◀─ activity/routes ◀─ store ◀─ processor ◀─ kafka/consumer
//!                                                         │             ▲ │
//!                                                         │   kafka/group: assignment,
//!                                                         │   committed offsets
//!                                                         └▶ dead letters
//! ```
//!
//! # Layout
//!
//! * [`config`][]: all settings, with their variables and defaults
//! * [`activity`][]: the main service: its event, routes and processor
//! * [`service`][]: the parts of the activity service, put together
//! * [`store`][]: the store of processed events; knows no Kafka
//! * [`replay`][]: the command `replay`, which processes the topic again
//! * [`transfer`][]: the commands `import` and `export`, events between files and a running service
//! * [`selftest`][]: the command `selftest`, which tests a running service over HTTP
//! * [`telemetry`][]: logging
//!
//! The crates below:
//!
//! * [`highwater_kafka`]: producer, consumer groups and dead letters; knows no event, route or store
//! * [`highwater_web`]: the HTTP server, and the parts that services share
//! * [`highwater_commerce`]: users and orders, whose event-sourced tables are in `highwater_table`
//! * [`highwater_eventlog`]: the event log in SQL Server and DynamoDB
//! * `highwater_kafka_broker`: the embedded broker, which speaks Kafka's protocol over TCP
//!
//! Each crate's manifest says which crates it may use. Only `config` reads the environment.

#![forbid(unsafe_code)]

pub mod activity;
pub mod config;
#[cfg(feature = "embedded-broker")]
pub mod embedded;
pub mod replay;
pub mod selftest;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod transfer;
