//! Brokers of a cluster of three that hang or die, by `scripts/kafka.sh`.

use std::process::Command;

use super::{TestCluster, skipped, switch};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");

/// The cluster under test; none where it is smaller.
pub(crate) async fn three_brokers() -> Option<TestCluster> {
    let cluster = TestCluster::start().await;
    let is_large = cluster.brokers.len() >= 3;
    if !is_large {
        skipped("three-brokers", "TEST_KAFKA_BROKERS names no cluster of three brokers");
    }
    is_large.then_some(cluster)
}

/// Whether brokers may be paused and killed: nothing else is tested on them meanwhile.
pub(crate) fn may_disturb() -> bool {
    let may = switch("TEST_KAFKA_PAUSE").is_some();
    if !may {
        skipped("pause", "TEST_KAFKA_PAUSE is not set");
    }
    may
}

/// Has `scripts/kafka.sh` do something to a broker.
pub(crate) fn disturb(cluster: &TestCluster, command: &str, node: i32, more: &[&str]) {
    let port = cluster.brokers[0].rsplit(':').next().unwrap();
    let done = Command::new(SCRIPT).args([command, port, &node.to_string()]).args(more).status().unwrap();
    assert!(done.success(), "{command} {port} {node} {more:?}");
}

/// A broker that something was done to, which is undone when this is dropped.
pub(crate) struct Disturbed<'a> {
    cluster: &'a TestCluster,
    node: i32,
    undo: &'static str,
}

impl<'a> Disturbed<'a> {
    /// It hangs.
    pub(crate) fn paused(cluster: &'a TestCluster, node: i32) -> Self {
        disturb(cluster, "pause", node, &[]);
        Self { cluster, node, undo: "resume" }
    }

    /// It is away.
    pub(crate) fn killed(cluster: &'a TestCluster, node: i32) -> Self {
        disturb(cluster, "kill", node, &[]);
        Self { cluster, node, undo: "revive" }
    }
}

impl Drop for Disturbed<'_> {
    fn drop(&mut self) {
        disturb(self.cluster, self.undo, self.node, &[]);
    }
}
