//! The deadlines of a connection.
//!
//! A connection is always in one [`Phase`], and each phase has its deadline, or the peer's next read has.
//! The connection keeps a single timer and looks here when it fires; a deadline that moved on meanwhile
//! only costs it another sleep. So a request sets no timer and clears none.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Config, Correlation};

/// How long a connection is kept that asks nothing. Longer than the minute after which load balancers
/// and proxies drop theirs as a rule: who closes first must be the one who sends requests, or a request
/// can meet a closing connection.
const IDLE: Duration = Duration::from_secs(75);
/// How long a client that does not keep up with an answer may take for [`LEAST`] bytes of it.
const STALL: Duration = Duration::from_secs(30);
/// Or for all that is there, where that is less.
const LEAST: usize = 64 * 1024;

tokio::task_local! {
    /// The deadlines of the connection whose request is being answered.
    pub(super) static CURRENT: Arc<Pace>;
}

/// Gives the request that is being answered so much more time; for a handler that waits because it was
/// asked to. Does nothing where no server runs, as in a test of a filter alone.
pub fn grant(more: Duration) {
    let _ = CURRENT.try_with(|pace| pace.extend(more));
}

#[derive(Debug)]
pub(super) struct Pace {
    head: Duration,
    request: Duration,
    state: Mutex<State>,
    /// What the handler at work has told of its request.
    correlation: Mutex<Option<Correlation>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase has lasted too long.
    due: Option<Instant>,
    /// What the peer has to read, and by when, while there is more for it than it takes.
    behind: Option<Behind>,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    due: Instant,
    bytes: usize,
}

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request's head is arriving.
    Head,
    /// No byte of a request came, of the first or of the next.
    Idle,
    /// A handler is at work.
    Handling,
    /// A handler was at work for too long, and is to be given up.
    Overdue,
    /// The answer's body is being sent.
    Answering,
    /// The peer does not read, or as good as not.
    Stalled,
}

impl Pace {
    pub(super) fn new(config: &Config) -> Self {
        let state =
            State { phase: Phase::Idle, due: Some(Instant::now() + config.header_timeout), behind: None };
        let (state, correlation) = (Mutex::new(state), Mutex::default());
        Self { head: config.header_timeout, request: config.request_timeout, state, correlation }
    }

    /// The moment at which to ask [`Pace::overdue`].
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.state();
        match (state.due, state.behind) {
            (Some(due), Some(behind)) => Some(due.min(behind.due)),
            (due, behind) => due.or(behind.map(|behind| behind.due)),
        }
    }

    /// What has lasted too long, if anything has. A handler's is found once.
    pub(super) fn overdue(&self) -> Option<Phase> {
        let now = Instant::now();
        let mut state = self.state();
        if state.behind.is_some_and(|behind| behind.due <= now) {
            return Some(Phase::Stalled);
        }
        if state.due.is_none_or(|due| due > now) {
            return None;
        }
        if state.phase == Phase::Handling {
            *state = State { phase: Phase::Overdue, due: None, ..*state };
        }
        Some(state.phase)
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.state().phase == Phase::Overdue
    }

    /// Bytes came. Those of a body, or of a request that is sent ahead of its time, move nothing.
    pub(super) fn bytes_came(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            *state = State { phase: Phase::Head, due: Some(Instant::now() + self.head), ..*state };
        }
    }

    pub(super) fn head_complete(&self) {
        let mut state = self.state();
        *state = State { phase: Phase::Handling, due: Some(Instant::now() + self.request), ..*state };
    }

    pub(super) fn answer_began(&self) {
        let mut state = self.state();
        *state = State { phase: Phase::Answering, due: None, ..*state };
    }

    /// The next piece of an answer's body is being made, which may take as long as a request.
    pub(super) fn answer_pending(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering && state.due.is_none() {
            state.due = Some(Instant::now() + self.request);
        }
    }

    pub(super) fn answer_ended(&self) {
        let mut state = self.state();
        *state = State { phase: Phase::Idle, due: Some(Instant::now() + IDLE), ..*state };
    }

    pub(super) fn write_blocked(&self) {
        let mut state = self.state();
        if state.behind.is_none() {
            state.behind = Some(Behind { due: Instant::now() + STALL, bytes: LEAST });
        }
    }

    /// So many bytes could be written after all.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.behind = match state.behind {
            Some(behind) if behind.bytes > bytes => Some(Behind { bytes: behind.bytes - bytes, ..behind }),
            _ => None,
        };
    }

    /// The peer has caught up with what there is for it.
    pub(super) fn all_written(&self) {
        self.state().behind = None;
    }

    /// The request that is being answered has that id, whatever becomes of its handler.
    pub(super) fn correlate(&self, correlation: Correlation) {
        *self.correlation.lock().unwrap_or_else(PoisonError::into_inner) = Some(correlation);
    }

    /// What was told of the request, which is over.
    pub(super) fn take_correlation(&self) -> Option<Correlation> {
        self.correlation.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn extend(&self, more: Duration) {
        let mut state = self.state();
        if state.phase == Phase::Handling {
            state.due = state.due.map(|due| due + more);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment: a panic cannot have left half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
