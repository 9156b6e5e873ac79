//! The deadlines of a connection.
//!
//! A connection is always in one [`Phase`], and each phase has its deadline, or the peer's next read has.
//! The connection keeps a single timer and looks here when it fires; a deadline that moved on meanwhile
//! only costs it another sleep. So a request sets no timer and clears none.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    time::Duration,
};

use futures::task::AtomicWaker;
use hyper::header::{CONNECTION, HeaderValue};
use tokio::time::Instant;

use super::{CorrelationId, Problem, budget::MemoryReservation, limiter::ConnectionLimiter};

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
    pub(super) static CURRENT: Arc<ConnectionDeadlines>;
}

/// Gives the request that is being answered so much more time; for a handler that waits because it was
/// asked to. Does nothing where no server runs, as in a test of a filter alone.
pub fn extend_deadline(more: Duration) {
    let _ = CURRENT.try_with(|deadlines| deadlines.extend(more));
}

/// Takes so much memory for the request that is being answered, beside what every connection has; for a handler that
/// keeps what a client sends. Does nothing where no server runs.
///
/// # Errors
///
/// 503: large requests have taken all there is.
pub(super) fn reserve_memory(bytes: usize) -> Result<(), Problem> {
    let there = CURRENT.try_with(|deadlines| deadlines.take(bytes)).unwrap_or(true);
    if there { Ok(()) } else { Err(no_memory()) }
}

/// 503: no memory is free. The connection ends with it: to read the rest of the request would hold what it has.
pub(super) fn no_memory() -> Problem {
    Problem::unavailable("large requests and answers have taken all memory that there is for them", 1)
        .with_header(CONNECTION, HeaderValue::from_static("close"))
}

#[derive(Debug)]
pub(super) struct ConnectionDeadlines {
    head: Duration,
    request: Duration,
    state: Mutex<State>,
    /// What the handler at work has told of its request.
    correlation: Mutex<Option<CorrelationId>>,
    /// What the connection takes of the memory that is for all.
    reservation: MemoryReservation,
    /// Where there are others, who make room for its requests and answers when they are idle.
    limiter: Weak<ConnectionLimiter>,
    /// The connection's task, which is woken when it is to make room.
    task: AtomicWaker,
    /// Whether it counts as idle while a head is arriving, too.
    evictable_before_head: bool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase has lasted too long.
    due: Option<Instant>,
    /// What the peer has to read, and by when, while there is more for it than it takes.
    behind: Option<Behind>,
    /// Since when nothing is asked and nothing is left to be sent, where that is so.
    idle: Option<Instant>,
    /// Whether it was closed to make room; a request that came in the same moment is still answered.
    evicted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    due: Instant,
    bytes: usize,
}

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte came yet.
    New,
    /// A request's head is arriving.
    Head,
    /// An answer was given, and no byte of a next request came.
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

impl State {
    /// Whether an answer was given of which the peer has not taken all: the connection is not over before that.
    fn is_sending(&self) -> bool {
        self.phase == Phase::Idle && self.behind.is_some()
    }
}

impl ConnectionDeadlines {
    /// Of a connection that was made just now: how long a head may take, and how long an answer may take to begin.
    pub(super) fn new(
        head: Duration,
        request: Duration,
        reservation: MemoryReservation,
        limiter: Weak<ConnectionLimiter>,
    ) -> Self {
        let now = Instant::now();
        let state =
            State { phase: Phase::New, due: Some(now + head), behind: None, idle: Some(now), evicted: false };
        let (state, correlation) = (Mutex::new(state), Mutex::default());
        Self {
            head,
            request,
            state,
            correlation,
            reservation,
            limiter,
            task: AtomicWaker::new(),
            evictable_before_head: false,
        }
    }

    /// Makes room for others as long as no head is whole.
    pub(super) fn with_eviction_before_head(self, evictable_before_head: bool) -> Self {
        Self { evictable_before_head, ..self }
    }

    /// The moment at which to ask [`Pace::overdue`].
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.state();
        let behind = state.behind.map(|behind| behind.due);
        if state.is_sending() { behind } else { state.due.into_iter().chain(behind).min() }
    }

    /// What has lasted too long, if anything has. A handler's is found once.
    pub(super) fn overdue(&self) -> Option<Phase> {
        let now = Instant::now();
        let mut state = self.state();
        if state.behind.is_some_and(|behind| behind.due <= now) {
            return Some(Phase::Stalled);
        }
        if state.is_sending() || state.due.is_none_or(|due| due > now) {
            return None;
        }
        if state.phase == Phase::Handling {
            *state = State { phase: Phase::Overdue, due: None, ..*state };
        }
        Some(state.phase)
    }

    /// Since when nothing is asked and nothing is left to be sent, where that is so.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle
    }

    /// Whether no byte has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.state().phase == Phase::New
    }

    /// Closes the connection, if it has been idle since then; whether it has.
    pub(super) fn evict(&self, since: Instant) -> bool {
        let mut state = self.state();
        if state.idle != Some(since) {
            return false;
        }
        *state = State { phase: Phase::Idle, due: Some(Instant::now()), idle: None, evicted: true, ..*state };
        drop(state);
        self.reservation.release_all();
        self.task.wake();
        true
    }

    /// Whether the connection was closed to make room, or is about to be.
    pub(super) fn is_evicted(&self) -> bool {
        self.state().evicted
    }

    /// Has this task woken when the connection is to make room.
    pub(super) fn watch(&self, task: &Waker) {
        self.task.register(task);
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.state().phase == Phase::Overdue
    }

    /// Bytes came. Those of a body, or of a request that is sent ahead of its time, move nothing.
    pub(super) fn bytes_came(&self) {
        let mut state = self.state();
        if !self.evictable_before_head {
            state.idle = None;
        }
        let goes = self.evictable_before_head && state.evicted;
        if matches!(state.phase, Phase::New | Phase::Idle) && !goes {
            *state = State { phase: Phase::Head, due: Some(Instant::now() + self.head), ..*state };
        }
    }

    pub(super) fn head_complete(&self) {
        let mut state = self.state();
        let due = Some(Instant::now() + self.request);
        // Of a request that came together with the one before it, no byte comes any more.
        *state = State { phase: Phase::Handling, due, idle: None, ..*state };
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
        if state.behind.is_none() {
            self.become_idle(&mut state);
        }
    }

    /// The connection is idle from now on, unless it is being closed.
    fn become_idle(&self, state: &mut State) {
        if !state.evicted {
            let now = Instant::now();
            (state.due, state.idle) = (Some(now + IDLE), Some(now));
        }
        self.reservation.release_request();
    }

    pub(super) fn write_blocked(&self) {
        let mut state = self.state();
        if state.behind.is_none() {
            // What nobody reads takes memory in here and in the system. Where that is not there, it is not waited for.
            let patience = if self.reservation.take_for_unread() { STALL } else { Duration::ZERO };
            state.behind = Some(Behind { due: Instant::now() + patience, bytes: LEAST });
            state.idle = None;
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
        let mut state = self.state();
        state.behind = None;
        if state.phase == Phase::Idle {
            self.become_idle(&mut state);
        }
    }

    /// Takes so much for the request that is being answered; whether it was there.
    fn take(&self, bytes: usize) -> bool {
        self.evict_until(|| self.reservation.take(bytes))
    }

    /// Takes what an answer of that length costs, or one whose length is not known; whether it was there.
    pub(super) fn take_for_answer(&self, length: Option<u64>) -> bool {
        self.evict_until(|| self.reservation.take_for_answer(length))
    }

    /// Closes connections that are idle until what is taken is there; whether it was.
    fn evict_until(&self, take: impl Fn() -> bool) -> bool {
        take() || self.limiter.upgrade().is_some_and(|limiter| limiter.close_idle_until(take))
    }

    /// The request that is being answered has that id, whatever becomes of its handler.
    pub(super) fn correlate(&self, correlation: CorrelationId) {
        *self.correlation.lock().unwrap_or_else(PoisonError::into_inner) = Some(correlation);
    }

    /// What was told of the request, which is over.
    pub(super) fn take_correlation(&self) -> Option<CorrelationId> {
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
