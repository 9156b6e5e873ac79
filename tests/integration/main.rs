//! Tests over real HTTP and TCP, on the embedded broker or on the cluster that TEST_KAFKA_BROKERS names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod activity;
mod embedded;
#[cfg(feature = "eventlog")]
mod eventlog;
mod http;
mod messaging;
mod process;
mod services;
#[cfg(feature = "postgres")]
mod store;
mod support;
