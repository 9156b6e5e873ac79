//! What the tests stand on: a cluster, topics of their own, and waiting for a condition.

mod batches;
mod cluster;
mod eventually;
mod recorder;
pub(crate) mod requests;
mod transactional;

pub(crate) use batches::{Batch, rewritten};
pub(crate) use cluster::{Client, TestCluster};
pub(crate) use eventually::eventually;
pub(crate) use recorder::Recorder;
pub(crate) use transactional::TransactionalProducer;
