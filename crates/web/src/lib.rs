//! REST without a business word, and what services share.
//!
//! * [`http`][]: accepting, limits, bodies, problems, and how routes are described
//! * [`operations`][]: `/health`, `/ready`, `/group` and `/metrics`
//! * [`dead_letters`][]: dead letters over REST and from a shell, for any service
//! * [`fields`][], [`timestamp`][], [`moment`][], [`json`][]: what a body is read by and written by
//! * [`idempotency`][], [`page`][], [`resource`][], [`unpublished`][]: what clients ask and hear, the same everywhere
//! * [`shutdown`][]: one request to stop, many who hear of it

#![forbid(unsafe_code)]
// The layout of what reads dead letters is found out here, through all the futures of the library.
#![recursion_limit = "256"]

pub mod auth;
pub mod dead_letters;
pub mod fields;
pub mod http;
pub mod idempotency;
pub mod identity;
pub mod invisible;
pub mod json;
pub mod operations;
pub mod page;
pub mod publish_problem;
pub mod redact;
pub mod resource;
pub mod sampler;
pub mod shutdown;
pub mod timestamp;

/// What no log line shows, and how long to wait before another attempt: the library's, for services without Kafka too.
pub use highwater_kafka::{Backoff, security::Secret};
