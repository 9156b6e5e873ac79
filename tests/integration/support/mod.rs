//! What the tests stand on: a cluster, topics of their own, and waiting for a condition.

mod cluster;
mod eventually;
mod recorder;

pub(crate) use cluster::{Client, TestCluster};
pub(crate) use eventually::eventually;
pub(crate) use recorder::Recorder;
