//! The part of a group that the log of the groups keeps: its members, as each protocol has them.

use super::{Group, Members, Offsets};

impl Group {
    /// Whether it is in a state that the log can have.
    pub(crate) fn is_storable(&self) -> bool {
        match &self.members {
            Members::Classic(group) => group.is_between_rebalances(),
            // Each step of a member is a record.
            Members::Consumer(_) => true,
        }
    }

    /// Whether its members are the same as in the log, so that nothing new is to be written.
    pub(crate) fn has_members_of(&self, other: &Self) -> bool {
        match (&self.members, &other.members) {
            (Members::Classic(group), Members::Classic(other)) => group.has_members_of(other),
            (Members::Consumer(group), Members::Consumer(other)) => group == other,
            _ => false,
        }
    }

    /// The group without the offsets, which are stored apart, and without the parts that are not stored.
    pub(crate) fn without_offsets(&self) -> Self {
        let members = match &self.members {
            Members::Classic(group) => Members::Classic(group.without_waiting()),
            Members::Consumer(group) => Members::Consumer(group.clone()),
        };
        Self { offsets: Offsets::default(), members }
    }

    /// Takes over the members that were stored. Their sessions begin anew.
    pub(crate) fn take_over(&mut self, stored: &Self) {
        self.members = stored.members.clone();
        match &mut self.members {
            Members::Classic(group) => group.begin_sessions(),
            Members::Consumer(group) => group.begin_sessions(),
        }
    }
}
