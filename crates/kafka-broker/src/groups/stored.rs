//! What the log of the groups keeps of a group: its members, as each protocol has them.

use super::{Group, Members, Offsets};

impl Group {
    /// Whether it is as the log can have it.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.members {
            Members::Classic(group) => group.is_settled(),
            // Each step of a member is a record.
            Members::Consumer(_) => true,
        }
    }

    /// Whether the log has to have nothing new of it.
    pub(crate) fn has_members_of(&self, other: &Self) -> bool {
        match (&self.members, &other.members) {
            (Members::Classic(group), Members::Classic(other)) => group.has_members_of(other),
            (Members::Consumer(group), Members::Consumer(other)) => group == other,
            _ => false,
        }
    }

    /// The group without what is stored apart, or not at all.
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
