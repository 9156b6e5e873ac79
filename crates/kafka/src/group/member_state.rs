//! The member's state: the protocol sets it, and the consumer commits by it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kafka_protocol::protocol::StrBytes;

use super::Lease;

/// A member in one generation of the group (`Generation` in Java's `AbstractCoordinator`). It is one value, made by one
/// answer of the coordinator: every heartbeat and commit carries member id and generation together, so that a late
/// answer to an old one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberGeneration {
    /// The id that the coordinator knows the member by.
    pub(crate) member_id: StrBytes,
    /// The configured id (static membership, KIP-345).
    pub(crate) instance_id: Option<StrBytes>,
    /// The group's generation; the member's epoch under KIP-848.
    pub(crate) id: i32,
}

/// The state of a member now.
#[derive(Debug, Default)]
pub(crate) struct MemberState(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    generation: Option<MemberGeneration>,
    lease: Lease,
}

impl MemberState {
    /// The generation to commit by; `None` while it is not a member.
    pub(crate) fn generation(&self) -> Option<MemberGeneration> {
        self.state().generation.clone()
    }

    /// The current lease, for workers that start now.
    pub(crate) fn lease(&self) -> Lease {
        self.state().lease.clone()
    }

    /// Sets the generation.
    pub(super) fn set(&self, generation: MemberGeneration) {
        self.state().generation = Some(generation);
    }

    /// Clears the generation and ends the lease: the member is out of the group.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.lease.end();
        *state = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
