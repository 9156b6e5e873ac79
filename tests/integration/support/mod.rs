//! Support code: a cluster, topics, whole services, and waiting for a condition.

mod app;
mod batches;
mod certificates;
mod cluster;
mod disturbed;
mod environment;
mod eventually;
mod front;
mod instance;
mod kafka;
mod leaders;
mod load;
mod lossy;
mod posted_lines;
pub(crate) mod processed_lines;
mod program;
mod recorder;
pub(crate) mod requests;
mod rest;
mod running;
mod skipped;
mod transactional;

#[cfg(feature = "postgres")]
pub(crate) use app::Acknowledged;
pub(crate) use app::{SESSION, TestApp, acknowledged};
pub(crate) use batches::{Batch, rewritten};
pub(crate) use certificates::{Authority, Identity};
pub(crate) use cluster::{Client, TestCluster};
pub(crate) use disturbed::{Disturbed, disturb, may_disturb, three_brokers};
pub(crate) use environment::switch;
pub(crate) use eventually::eventually;
pub(crate) use front::Heartbeats;
pub(crate) use instance::Instance;
pub(crate) use load::RecordLoad;
pub(crate) use lossy::Loss;
pub(crate) use posted_lines::{PostedLines, events_in_log, position};
pub(crate) use program::Program;
pub(crate) use recorder::Recorder;
pub(crate) use rest::{Answered, Rest, send};
pub(crate) use running::Running;
pub(crate) use skipped::skipped;
pub(crate) use transactional::TransactionalProducer;
