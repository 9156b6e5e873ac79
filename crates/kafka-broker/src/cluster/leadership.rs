//! The leader of a partition, as the cluster's metadata has it (`PartitionRegistration` in Java).

use super::NodeId;

/// The replicas of a partition, those that are in sync, and the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The preferred leader first.
    pub(crate) replicas: Vec<NodeId>,
    pub(crate) in_sync: Vec<NodeId>,
    pub(crate) leader: Option<NodeId>,
    /// Rises with each leader.
    pub(crate) epoch: i32,
    /// Rises with each change; 0 before a node knows of any.
    pub(crate) version: u64,
}

impl Leadership {
    /// The leadership of a new partition.
    pub(super) fn new(replicas: Vec<NodeId>, is_live: impl Fn(NodeId) -> bool) -> Self {
        let in_sync: Vec<NodeId> = replicas.iter().copied().filter(|node| is_live(*node)).collect();
        Self { leader: in_sync.first().copied(), in_sync, replicas, epoch: 0, version: 1 }
    }

    /// The leadership of a partition that a node does not know yet.
    pub(crate) fn unknown() -> Self {
        Self { replicas: Vec::new(), in_sync: Vec::new(), leader: None, epoch: -1, version: 0 }
    }

    /// A node has gone. The last replica in sync stays in sync when it goes, since no other one may lead.
    pub(super) fn leave(&mut self, node: NodeId, is_live: impl Fn(NodeId) -> bool) {
        if self.in_sync.contains(&node) && self.in_sync.len() > 1 {
            self.in_sync.retain(|known| *known != node);
            self.version += 1;
        }
        if self.leader == Some(node) {
            self.elect(is_live);
        }
    }

    /// A node has come back. It may lead where there is no leader.
    pub(super) fn come(&mut self, is_live: impl Fn(NodeId) -> bool) {
        if self.leader.is_none() && self.in_sync.iter().any(|node| is_live(*node)) {
            self.elect(is_live);
        }
    }

    /// Elects the first replica that is in sync and live.
    fn elect(&mut self, is_live: impl Fn(NodeId) -> bool) {
        let mut replicas = self.replicas.iter().copied();
        let leader = replicas.find(|node| self.in_sync.contains(node) && is_live(*node));
        self.lead(leader);
    }

    /// Elects the next replica after the leader that is in sync and live.
    pub(super) fn elect_next(&mut self, is_live: impl Fn(NodeId) -> bool) {
        let Some(at) = self.replicas.iter().position(|node| Some(*node) == self.leader) else { return };
        let mut others = self.replicas[at + 1..].iter().chain(&self.replicas[..at]).copied();
        if let Some(next) = others.find(|node| self.in_sync.contains(node) && is_live(*node)) {
            self.lead(Some(next));
        }
    }

    /// Elects a replica that may not be in sync. It is the only one in sync from then on (`UncleanLeaderElection`).
    pub(super) fn elect_uncleanly(&mut self, node: NodeId) {
        self.in_sync = vec![node];
        self.lead(Some(node));
    }

    /// Begins an epoch of the same leader, as after the loss of its log's end.
    pub(super) fn begin_epoch(&mut self) {
        self.lead(self.leader);
    }

    fn lead(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
        self.epoch += 1;
        self.version += 1;
    }
}
