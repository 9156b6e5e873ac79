//! Rebalances and timeouts of members (`prepareRebalance`, `onCompleteJoin`,
//! `onExpirePendingSync` in Java's `GroupCoordinator`).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Admission, ClassicGroup, Phase};

impl ClassicGroup {
    /// The member waits for the next generation, which begins when all have joined.
    pub(super) fn wait_for_others(&mut self, id: String) -> Admission {
        if let Some(member) = self.members.get_mut(&id) {
            member.waits = true;
        }
        self.gather();
        Admission::Waits(id)
    }

    /// Begins a rebalance, unless there is one, and completes it when all have joined. The first member of a group
    /// does not wait, as with `group.initial.rebalance.delay.ms=0`: not for ids that were given out and never
    /// used either (`InitialDelayedJoin` waits for time alone).
    fn gather(&mut self) {
        if self.phase == Phase::Empty {
            return self.begin_generation();
        }
        if self.phase != Phase::PreparingRebalance {
            self.phase = Phase::PreparingRebalance;
            self.waits_until = Some(Instant::now() + self.patience());
        }
        self.form_generation();
    }

    fn patience(&self) -> Duration {
        self.members.values().map(|member| member.joining.rebalance_timeout).max().unwrap_or_default()
    }

    /// Begins the next generation if all have joined, also those with an id that was given out.
    pub(super) fn form_generation(&mut self) {
        let all = self.given_ids.is_empty() && self.members.values().all(|member| member.waits);
        if self.phase == Phase::PreparingRebalance && (all || self.members.is_empty()) {
            self.begin_generation();
        }
    }

    /// The rebalance timeout: goes on without the members that have not joined. Static ones stay until their session
    /// ends.
    fn form_generation_without_the_late(&mut self) {
        self.members.retain(|_, member| member.waits || member.instance().is_some());
        if !self.members.is_empty() && !self.members.values().any(|member| member.waits) {
            self.waits_until = Some(Instant::now() + self.patience());
            return;
        }
        self.begin_generation();
    }

    fn begin_generation(&mut self) {
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.waits_until = None;
            self.protocol.clear();
            return;
        }
        self.phase = Phase::CompletingRebalance;
        self.waits_until = Some(Instant::now() + self.patience());
        if !self.members.get(&self.leader).is_some_and(|leader| leader.waits) {
            let here = self.members.iter().find(|(_, member)| member.waits);
            self.leader = here.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.elected_protocol();
        let now = Instant::now();
        for member in self.members.values_mut() {
            if member.waits {
                member.last_heard = now;
            }
            (member.waits, member.synced) = (false, false);
            member.assignment = Bytes::new();
        }
    }

    /// Each member votes for the first of its protocols that all support (`selectProtocol`).
    pub(super) fn elected_protocol(&self) -> String {
        let all_know = |name: &str| self.members.values().all(|member| member.knows(name));
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in self.members.values() {
            let mut names = member.joining.protocols.iter().map(|(name, _)| name.as_str());
            let Some(choice) = names.find(|name| all_know(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| *name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    pub(super) fn lost_members(&mut self) {
        match self.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance => self.form_generation(),
            Phase::CompletingRebalance | Phase::Stable => self.gather(),
        }
    }

    /// Removes members whose session has expired, and those that do not send JoinGroup or SyncGroup
    /// in time. Returns whether anything changed.
    pub fn sweep(&mut self) -> bool {
        let now = Instant::now();
        let before = (self.members.len(), self.given_ids.len(), self.phase, self.generation);
        self.given_ids.retain(|_, until| now < *until);
        self.members.retain(|_, member| !member.is_silent(now));
        if self.members.len() != before.0 {
            self.lost_members();
        }
        if self.given_ids.len() != before.1 {
            self.form_generation();
        }
        if self.waits_until.is_some_and(|until| now >= until) {
            self.waits_until = None;
            match self.phase {
                Phase::PreparingRebalance => self.form_generation_without_the_late(),
                Phase::CompletingRebalance | Phase::Stable => self.drop_the_unsynced(),
                Phase::Empty => {}
            }
        }
        before != (self.members.len(), self.given_ids.len(), self.phase, self.generation)
    }

    /// Removes members that have not sent SyncGroup in time (KAFKA-12890).
    fn drop_the_unsynced(&mut self) {
        let before = self.members.len();
        self.members.retain(|_, member| member.synced);
        if self.members.len() != before {
            self.lost_members();
        }
    }
}
