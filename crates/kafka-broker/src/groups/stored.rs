//! What the log of the groups keeps of a group (`GroupMetadataValue` in Java): its members between two rebalances, each
//! with its assignment.

use tokio::time::Instant;

use super::{Group, Offsets, Phase};

impl Group {
    /// Whether it is between two rebalances, after the first.
    pub(crate) fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Stable => true,
            Phase::Empty => self.generation > 0,
            Phase::PreparingRebalance | Phase::CompletingRebalance => false,
        }
    }

    /// Whether it has the members of that generation.
    pub(crate) fn has_members_of(&self, other: &Self) -> bool {
        (self.generation, self.phase) == (other.generation, other.phase)
            && self.members.keys().eq(other.members.keys())
    }

    /// The group without what is stored apart, or not at all.
    pub(crate) fn without_offsets(&self) -> Self {
        Self { offsets: Offsets::default(), given_ids: Default::default(), waits_until: None, ..self.clone() }
    }

    /// Takes over the members that were stored. Their sessions begin anew.
    pub(crate) fn take_over(&mut self, stored: &Self) {
        let offsets = std::mem::take(&mut self.offsets);
        *self = Self { offsets, ..stored.clone() };
        let now = Instant::now();
        self.members.values_mut().for_each(|member| member.last_heard = now);
    }
}
