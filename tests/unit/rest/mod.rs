//! The routes of the activity service, without sockets and without Kafka.

mod access;
mod admin_auth;
mod batches;
mod cloud_events;
mod codings;
mod concurrency_limit;
mod dead_letters;
mod documentation;
mod erasing;
mod finding;
mod group;
mod health;
mod listing;
mod logging;
mod metrics;
mod publishing;
mod rejections;
mod routing;
#[cfg(feature = "schemas")]
mod schemas;
mod segment;
pub(crate) mod service;
mod stream_gaps;
mod streams;
mod streams_in_trouble;
mod validation;
