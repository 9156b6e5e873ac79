//! As what a member may speak now, and for how long it may act: known to the protocol, which makes it, and to
//! the consumer, which commits by it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kafka_protocol::protocol::StrBytes;

use super::Lease;

/// A member's place in one generation of the group. One value, made by the coordinator's answer and never
/// changed: member id and generation travel together, in each heartbeat and commit, so that an answer to an
/// old one can change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberGeneration {
    /// The id the coordinator knows the member by.
    pub(crate) member_id: StrBytes,
    /// The name it was configured with (KIP-345).
    pub(crate) instance_id: Option<StrBytes>,
    /// The group's generation; the member's epoch under KIP-848.
    pub(crate) id: i32,
}

/// What a member is in the group now.
#[derive(Debug, Default)]
pub(crate) struct MemberState(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    generation: Option<MemberGeneration>,
    lease: Lease,
}

impl MemberState {
    /// What to commit as; `None` while it is no member.
    pub(crate) fn generation(&self) -> Option<MemberGeneration> {
        self.state().generation.clone()
    }

    /// The right to act of those that begin to work now.
    pub(crate) fn lease(&self) -> Lease {
        self.state().lease.clone()
    }

    /// The coordinator gave it a place.
    pub(super) fn set(&self, generation: MemberGeneration) {
        self.state().generation = Some(generation);
    }

    /// It is out of the group. Whoever holds the lease holds nothing from now on.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.lease.end();
        *state = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
