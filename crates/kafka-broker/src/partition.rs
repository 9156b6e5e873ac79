//! A node's replica of a partition: its log, and its knowledge of the other replicas (`Partition` and `ReplicaManager` in Java).
//!
//! Records below the high watermark are in the log of every replica that is in sync. Only those are given to consumers.
//! Without other replicas that is the end of the log.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{
    cluster::{Leadership, NodeId},
    log::PartitionLog,
};

/// A replica.
#[derive(Debug)]
pub(crate) struct Partition {
    node: NodeId,
    log: PartitionLog,
    /// The leadership that this node knows of.
    leadership: Leadership,
    high_watermark: i64,
    /// The end of the log when this node began to lead.
    led_from: i64,
    /// The other replicas, if this node leads.
    followers: BTreeMap<NodeId, Follower>,
}

#[derive(Debug)]
struct Follower {
    /// Its log's end; `None` before it has asked.
    end: Option<i64>,
    /// The last time at which it had the whole log.
    caught_up: Instant,
}

impl Partition {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            log: PartitionLog::default(),
            leadership: Leadership::unknown(),
            high_watermark: 0,
            led_from: 0,
            followers: BTreeMap::new(),
        }
    }

    pub(crate) fn log(&self) -> &PartitionLog {
        &self.log
    }

    /// Changes the log.
    pub(crate) fn write<T>(&mut self, write: impl FnOnce(&mut PartitionLog) -> T) -> T {
        let written = write(&mut self.log);
        self.high_watermark = self.high_watermark.min(self.log.end());
        self.advance();
        written
    }

    /// The leadership that this node knows of.
    pub(crate) fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Whether this node takes itself for the leader.
    pub(crate) fn is_led_here(&self) -> bool {
        self.leadership.leader == Some(self.node)
    }

    /// The leader, if this node copies its log.
    pub(crate) fn followed(&self) -> Option<NodeId> {
        let leader = self.leadership.leader.filter(|leader| *leader != self.node)?;
        self.leadership.replicas.contains(&self.node).then_some(leader)
    }

    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Below it every transaction has ended, too.
    pub(crate) fn last_stable(&self) -> i64 {
        self.log.last_stable().min(self.high_watermark)
    }

    /// Whether all that the log had when this node began to lead is known to be replicated. Before that its high watermark
    /// may be lower than one that its predecessor gave to clients (KIP-207).
    pub(crate) fn knows_its_end(&self) -> bool {
        self.high_watermark >= self.led_from
    }

    /// Checks the leader epoch of a client (KIP-320, `checkCurrentLeaderEpoch`); -1 is none.
    pub(crate) fn check_epoch(&self, epoch: i32) -> Result<(), ResponseError> {
        match epoch.cmp(&self.leadership.epoch) {
            _ if epoch < 0 => Ok(()),
            Ordering::Less => Err(ResponseError::FencedLeaderEpoch),
            Ordering::Greater => Err(ResponseError::UnknownLeaderEpoch),
            Ordering::Equal => Ok(()),
        }
    }

    /// Whether enough replicas are in sync for acks=all. No topic needs more than it has (`effectiveMinIsr`).
    pub(crate) fn has_enough_in_sync(&self, least: usize) -> bool {
        self.leadership.in_sync.len() >= least.min(self.leadership.replicas.len())
    }

    /// Applies a change of the leadership.
    pub(crate) fn apply_leadership(&mut self, now_holds: &Leadership, now: Instant) {
        if now_holds.version <= self.leadership.version {
            return;
        }
        let before = std::mem::replace(&mut self.leadership, now_holds.clone());
        if !self.is_led_here() {
            self.followers.clear();
        } else if self.leadership.epoch > before.epoch {
            self.log.begin_epoch(self.leadership.epoch);
            self.led_from = self.log.end();
            let others = self.leadership.replicas.iter().filter(|node| **node != self.node);
            self.followers = others.map(|node| (*node, Follower { end: None, caught_up: now })).collect();
        }
        self.advance();
    }

    /// Forgets the leadership, as a new process does: it leads and follows nobody until it learns of the leader.
    pub(crate) fn forget_leader(&mut self) {
        self.leadership = Leadership::unknown();
        self.followers.clear();
    }

    /// A follower in this epoch asks for the records from that offset on.
    pub(crate) fn asked_by(&mut self, follower: NodeId, from: i64, now: Instant) {
        let end = self.log.end();
        if let Some(known) = self.followers.get_mut(&follower) {
            known.end = Some(from);
            if from >= end {
                known.caught_up = now;
            }
        }
        self.advance();
    }

    /// The replicas that are to be in sync; `None` where these are so already. A replica leaves that has not caught up for `lag`
    /// (`replica.lag.time.max.ms`). One comes back whose log, in this epoch, reaches the high watermark and the end that the
    /// leader began with.
    pub(crate) fn wants_in_sync(&self, now: Instant, lag: Duration) -> Option<Vec<NodeId>> {
        if !self.is_led_here() || self.leadership.replicas.len() == 1 {
            return None;
        }
        let in_sync = &self.leadership.in_sync;
        let stays = |node: &NodeId| match self.followers.get(node) {
            None => *node == self.node,
            Some(known) if in_sync.contains(node) => now < known.caught_up + lag,
            Some(known) => known.end.is_some_and(|end| end >= self.high_watermark.max(self.led_from)),
        };
        let wanted: Vec<NodeId> = self.leadership.replicas.iter().copied().filter(stays).collect();
        let is_same = wanted.len() == in_sync.len() && wanted.iter().all(|node| in_sync.contains(node));
        (!is_same).then_some(wanted)
    }

    /// Raises a follower's high watermark to the leader's, as far as its own log reaches.
    pub(crate) fn follow_watermark(&mut self, leaders: i64) {
        self.high_watermark = self.high_watermark.max(leaders.min(self.log.end()));
    }

    fn advance(&mut self) {
        if !self.is_led_here() {
            return;
        }
        let ends = self.leadership.in_sync.iter().map(|node| match self.followers.get(node) {
            Some(known) => known.end.unwrap_or(self.high_watermark),
            None => self.log.end(),
        });
        let replicated = ends.min().unwrap_or(self.high_watermark).min(self.log.end());
        self.high_watermark = self.high_watermark.max(replicated);
    }
}
