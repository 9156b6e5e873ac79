//! How the handlers of each host fare, as faults have it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{network::HostId, world::Millis};

/// Shared by the world and all handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Millis,
    /// The host, how long a record takes it, and until when.
    slow: Vec<(HostId, Millis, Millis)>,
    failing: Vec<(HostId, Millis)>,
}

impl Conditions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_now(&self, now: Millis) {
        let mut state = self.state();
        state.now = now;
        state.slow.retain(|(.., until)| *until > now);
        state.failing.retain(|(_, until)| *until > now);
    }

    pub(crate) fn slow(&self, host: HostId, each: Millis, during: Millis) {
        let mut state = self.state();
        let until = state.now + during;
        state.slow.push((host, each, until));
    }

    pub(crate) fn fail(&self, host: HostId, during: Millis) {
        let mut state = self.state();
        let until = state.now + during;
        state.failing.push((host, until));
    }

    /// How long a record takes that host's handler.
    pub(crate) fn handler_takes(&self, host: HostId) -> Millis {
        let state = self.state();
        state.slow.iter().filter(|(slow, ..)| *slow == host).map(|(_, each, _)| *each).max().unwrap_or(0)
    }

    /// Whether that host's handler fails.
    pub(crate) fn handler_fails(&self, host: HostId) -> bool {
        self.state().failing.iter().any(|(failing, _)| *failing == host)
    }
}
