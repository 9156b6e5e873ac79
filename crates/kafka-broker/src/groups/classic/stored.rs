//! The part of a group that the log of the groups keeps (`GroupMetadataValue` in Java): its members between two rebalances,
//! each with its assignment.

use tokio::time::Instant;

use super::{ClassicGroup, Phase};

impl ClassicGroup {
    /// Whether it is between two rebalances, after the first.
    pub(in crate::groups) fn is_between_rebalances(&self) -> bool {
        match self.phase {
            Phase::Stable => true,
            Phase::Empty => self.generation > 0,
            Phase::PreparingRebalance | Phase::CompletingRebalance => false,
        }
    }

    /// Whether it has the members of that generation.
    pub(in crate::groups) fn has_members_of(&self, other: &Self) -> bool {
        (self.generation, self.phase) == (other.generation, other.phase)
            && self.members.keys().eq(other.members.keys())
    }

    /// The group without the parts that are not stored.
    pub(in crate::groups) fn without_waiting(&self) -> Self {
        Self { given_ids: Default::default(), waits_until: None, ..self.clone() }
    }

    /// All sessions begin anew.
    pub(in crate::groups) fn begin_sessions(&mut self) {
        let now = Instant::now();
        self.members.values_mut().for_each(|member| member.last_heard = now);
    }
}
