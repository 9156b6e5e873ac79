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
    /// Rises with each change; 0 before a node has heard of any.
    pub(crate) version: u64,
}

impl Leadership {
    /// Of a new partition.
    pub(super) fn new(replicas: Vec<NodeId>, is_live: impl Fn(NodeId) -> bool) -> Self {
        let in_sync: Vec<NodeId> = replicas.iter().copied().filter(|node| is_live(*node)).collect();
        Self { leader: in_sync.first().copied(), in_sync, replicas, epoch: 0, version: 1 }
    }

    /// As a node has it that has not heard of the partition yet.
    pub(crate) fn unknown() -> Self {
        Self { replicas: Vec::new(), in_sync: Vec::new(), leader: None, epoch: -1, version: 0 }
    }

    /// A node is gone. The last replica in sync stays that: no other may lead.
    pub(super) fn leave(&mut self, node: NodeId, is_live: impl Fn(NodeId) -> bool) {
        if self.in_sync.contains(&node) && self.in_sync.len() > 1 {
            self.in_sync.retain(|known| *known != node);
            self.version += 1;
        }
        if self.leader == Some(node) {
            self.elect(is_live);
        }
    }

    /// A node is there again: it may lead where there is no leader.
    pub(super) fn come(&mut self, is_live: impl Fn(NodeId) -> bool) {
        if self.leader.is_none() && self.in_sync.iter().any(|node| is_live(*node)) {
            self.elect(is_live);
        }
    }

    /// The first replica that is in sync and there leads.
    fn elect(&mut self, is_live: impl Fn(NodeId) -> bool) {
        let mut replicas = self.replicas.iter().copied();
        let leader = replicas.find(|node| self.in_sync.contains(node) && is_live(*node));
        self.lead(leader);
    }

    /// The next replica that is in sync and there leads in place of the leader.
    pub(super) fn elect_next(&mut self, is_live: impl Fn(NodeId) -> bool) {
        let Some(at) = self.replicas.iter().position(|node| Some(*node) == self.leader) else { return };
        let mut others = self.replicas[at + 1..].iter().chain(&self.replicas[..at]).copied();
        if let Some(next) = others.find(|node| self.in_sync.contains(node) && is_live(*node)) {
            self.lead(Some(next));
        }
    }

    /// A replica leads though it is not in sync, and is the only one in sync from then on (`UncleanLeaderElection`).
    pub(super) fn elect_uncleanly(&mut self, node: NodeId) {
        self.in_sync = vec![node];
        self.lead(Some(node));
    }

    /// A leader begins anew, as one that lost its log's end does.
    pub(super) fn begin_epoch(&mut self) {
        self.lead(self.leader);
    }

    fn lead(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
        self.epoch += 1;
        self.version += 1;
    }
}
