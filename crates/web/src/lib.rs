//! HTTP plumbing without any domain, and the parts that services share.
//!
//! * [`http`][]: accepting, limits, bodies, problems, and descriptions of routes
//! * [`auth`][]: API keys, tokens, scopes and limits
//! * [`operations`][]: `/health`, `/ready`, `/group` and `/metrics`
//! * [`dead_letters`][]: dead letters over REST and on the command line, for any service
//! * [`fields`][], [`timestamp`][], [`json`][], [`object`][]: reading and writing bodies
//! * [`idempotency`][], [`page`][], [`resource`][], [`publish_problem`][]: requests and answers that all services share
//! * [`trace`][]: traces, from a request to the record that is processed
//! * [`shutdown`][]: the graceful stop and the components that it waits for

#![forbid(unsafe_code)]
// The compiler computes the layout of the dead letter futures here, through all futures of the library.
#![recursion_limit = "256"]

pub mod auth;
pub mod cursor;
pub mod dead_letters;
pub mod fields;
pub mod http;
pub mod idempotency;
pub mod identity;
pub mod invisible;
pub mod json;
pub mod object;
pub mod operations;
pub mod page;
pub mod publish_problem;
pub mod redact;
pub mod resource;
pub mod sampler;
pub mod shutdown;
pub mod timestamp;
pub mod trace;

/// Secrets and backoff of the Kafka library, for services without Kafka too.
pub use highwater_kafka::{Backoff, security::Secret};
