//! Highwater takes events in over REST, carries them through Kafka, stores each exactly once and
//! answers queries about them. It is also the library it is built on.
//!
//! ```text
//! client ─POST─▶ http ─▶ services/activity/routes ─▶ messaging/producer ═▶ Kafka ═╗
//!                                                                                ║
//! client ◀─GET── http ◀─ services/activity/routes ◀─ store ◀─ processor ◀─ messaging/consumer
//!                                                                  │             ▲ │
//!                                                                  │   messaging/group: who owns
//!                                                                  │   which partition, commits
//!                                                                  └▶ dead letters
//! ```
//!
//! # Layout
//!
//! * [`config`][]: every setting, its variable, its default, in one place
//! * [`services`][]: what the business says; `activity` is the main service
//! * [`messaging`][]: producing, consumer groups and dead letters; knows no event, no route, no store
//! * [`store`][]: where processed events are; knows no Kafka
//! * [`http`][]: REST plumbing without a business word
//! * [`telemetry`][]: logs
//! * [`shutdown`][]: one request to stop, many who hear of it
//! * [`json`][]: JSON text, looked at without building anything from it
//! * [`unseen`][]: characters that nobody sees
//! * `sabotage`: deliberate faults, in test builds alone
//! * [`embedded`][]: the in-process Kafka broker; speaks the protocol over TCP and nothing else
//!
//! `messaging` never imports `store`, `http` or `services`; `store` never imports Kafka;
//! `messaging` and `embedded` meet only over TCP; only `config` reads the environment.

pub mod config;
#[cfg(feature = "embedded-broker")]
pub mod embedded;
pub mod http;
pub mod json;
pub mod messaging;
mod sabotage;
pub mod services;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod unseen;
