//! The way of a member from its current partitions to its target. It revokes first. It gets a partition when the last holder
//! has said that it has it no more (`CurrentAssignmentBuilder` in Java, with KAFKA-19449 and KAFKA-19974).

use super::{ConsumerGroup, Partitions, member::Reconciliation};

impl ConsumerGroup {
    /// Brings a member as near to its target as it can get now. `owned` has the partitions that it says it owns, if it
    /// says so.
    pub(super) fn reconcile(&mut self, id: &str, owned: Option<&Partitions>) {
        let Some(member) = self.members.get(id) else { return };
        if member.is_reconciled_to(self.assignment_epoch) {
            return;
        }
        let has_not_revoked = |these: &Partitions| owned.is_none_or(|owned| !owned.is_disjoint(these));
        if let Reconciliation::Revoking { pending, .. } = &member.reconciliation
            && has_not_revoked(pending)
        {
            return;
        }
        let kept: Partitions = member.assigned().intersection(&member.target).copied().collect();
        let revoked: Partitions = member.assigned().difference(&kept).copied().collect();
        let (epoch, assigned, reconciliation) = if !revoked.is_empty() && has_not_revoked(&revoked) {
            (
                member.epoch(),
                kept,
                Reconciliation::Revoking { pending: revoked, until: member.revokes_until() },
            )
        } else {
            let others = self.members.iter().filter(|(other, _)| *other != id);
            let held: Partitions = others.flat_map(|(_, other)| other.held()).collect();
            let missing = member.target.difference(&kept).copied();
            let (taken, free): (Partitions, Partitions) = missing.partition(|one| held.contains(one));
            let reached = if taken.is_empty() { Reconciliation::Stable } else { Reconciliation::Waiting };
            (self.assignment_epoch, &kept | &free, reached)
        };
        if let Some(member) = self.members.get_mut(id) {
            member.step(epoch, assigned, reconciliation);
        }
    }
}
