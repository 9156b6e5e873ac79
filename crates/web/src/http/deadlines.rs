//! The deadlines of a connection.
//!
//! A connection is always in one [`Phase`]. Each phase has a deadline, or the peer's next read has one. The connection keeps
//! a single timer and checks the deadlines when it fires; a deadline that has moved only costs another sleep. So a request
//! sets and clears no timer.

mod multiplexed;

use std::{
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    time::Duration,
};

use futures::task::AtomicWaker;
use hyper::Method;
use tokio::time::Instant;

use super::{CorrelationId, budget::MemoryReservation, limiter::ConnectionLimiter, streams::OpenStream};

/// How long an idle connection is kept: longer than the minute after which load balancers and proxies usually close theirs.
/// The side that sends requests must close first, or a request can meet a closing connection.
const IDLE: Duration = Duration::from_secs(75);
/// How long a client that does not keep up with an answer may take for [`LEAST`] bytes of it.
const STALL: Duration = Duration::from_secs(30);
/// Or for all that is there, where that is less.
const LEAST: usize = 64 * 1024;
/// How long a client may take to hear that a connection takes no more requests.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct ConnectionDeadlines {
    head: Duration,
    request: Duration,
    state: Mutex<State>,
    /// The correlation id that the handler has set.
    correlation: Mutex<Option<CorrelationId>>,
    /// The connection's part of the memory budget.
    reservation: MemoryReservation,
    /// The limiter, whose idle connections make room for this one's requests and answers.
    limiter: Weak<ConnectionLimiter>,
    /// The connection's task, which is woken when it is to make room.
    task: AtomicWaker,
    /// Whether it counts as idle while a head is arriving, too.
    evictable_before_head: bool,
    /// That of a request among several on its connection.
    stream: Option<OpenStream>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase has lasted too long.
    due: Option<Instant>,
    /// How long the next piece of an answer may be in coming.
    piece: Duration,
    /// How much the peer has to read and by when, while it does not keep up.
    behind: Option<Behind>,
    /// Since when nothing is asked and nothing is left to be sent, where that is so.
    idle: Option<Instant>,
    /// Whether it was closed to make room; a request that arrived at the same time is still answered.
    evicted: bool,
    /// How many requests are under way at this time, on a connection that may have several.
    streams: Option<usize>,
    /// Pieces of an answer that have not left yet.
    pieces: usize,
    /// The answer has no end.
    endless: bool,
    /// The last request was no read: its method is not safe (RFC 9110, 9.2.1).
    writes: bool,
    /// The connection takes no more requests.
    leaving: bool,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    due: Instant,
    bytes: usize,
}

/// The phase of a connection.
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
        let state = State {
            phase: Phase::New,
            due: Some(now + head),
            piece: request,
            behind: None,
            idle: Some(now),
            evicted: false,
            streams: None,
            pieces: 0,
            endless: false,
            writes: false,
            leaving: false,
        };
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
            stream: None,
        }
    }

    /// Lets the connection be evicted until a head is complete.
    pub(super) fn with_eviction_before_head(self, evictable_before_head: bool) -> Self {
        Self { evictable_before_head, ..self }
    }

    /// The moment at which to ask [`ConnectionDeadlines::overdue`].
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.state();
        let behind = state.behind.map(|behind| behind.due);
        if state.is_sending() { behind } else { state.due.into_iter().chain(behind).min() }
    }

    /// The phase that has lasted too long, if one has. An overdue handler is reported once.
    pub(super) fn overdue(&self) -> Option<Phase> {
        let now = Instant::now();
        let mut state = self.state();
        if state.behind.is_some_and(|behind| behind.due <= now) {
            return Some(Phase::Stalled);
        }
        if state.is_sending() || state.due.is_none_or(|due| due > now) {
            return None;
        }
        if state.phase == Phase::Handling || (self.is_stream() && state.phase == Phase::Answering) {
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

    /// The phase in which it waits for a request that is no write, as far as the last one tells.
    pub(super) fn expects_read(&self) -> Option<Phase> {
        let state = self.state();
        // One that is evicted is to close at once.
        let reads = !state.writes && !state.evicted && state.streams.is_none();
        (reads && matches!(state.phase, Phase::New | Phase::Idle)).then_some(state.phase)
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
        if state.streams.is_some() && (state.phase != Phase::New || state.leaving) {
            // It is by requests alone that a connection is busy which has several, not by what else its client says.
            return;
        }
        if !self.evictable_before_head {
            state.idle = None;
        }
        let goes = self.evictable_before_head && state.evicted;
        if matches!(state.phase, Phase::New | Phase::Idle) && !goes {
            *state = State { phase: Phase::Head, due: Some(Instant::now() + self.head), ..*state };
        }
    }

    /// The head of a request of this method is there.
    pub(super) fn head_complete(&self, method: &Method) {
        let mut state = self.state();
        state.writes = !method.is_safe();
        let due = Some(Instant::now() + self.request);
        // Of a request that came together with the one before it, no byte comes any more.
        *state =
            State { phase: Phase::Handling, due, piece: self.request, idle: None, endless: false, ..*state };
    }

    pub(super) fn answer_began(&self) {
        let mut state = self.state();
        *state = State { phase: Phase::Answering, due: None, ..*state };
    }

    /// The next piece of an answer's body is being made, which may take as long as a request.
    pub(super) fn answer_pending(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering && state.due.is_none() {
            state.due = Some(Instant::now() + state.piece);
        }
    }

    /// More of the request's body came. An answer that is given meanwhile may wait for that.
    pub(super) fn body_came(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering {
            state.due = None;
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
            let patience = if state.leaving { FAREWELL } else { IDLE };
            (state.due, state.idle) = (Some(now + patience), Some(now));
        }
        self.reservation.release_request();
    }

    pub(super) fn write_blocked(&self) {
        let mut state = self.state();
        if state.behind.is_none() {
            // Unread bytes take memory here and in the kernel. Without free memory the server does not wait.
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
        } else if state.endless {
            self.reservation.release_request();
        }
    }

    /// The answer has no end. Thousands of such wait for the most part: each takes memory for what its peer has not read
    /// while there is something, and gives it back.
    pub(super) fn answer_is_endless(&self) {
        self.state().endless = true;
    }

    /// Takes so much for the request that is being answered; whether it was there.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.evict_until(|| self.reservation.take(bytes))
    }

    /// Takes what an answer of that length costs, or one whose length is not known; whether it was there.
    pub(super) fn take_for_answer(&self, length: Option<u64>) -> bool {
        let there = self.evict_until(|| self.reservation.take_for_answer(length));
        if let Some(stream) = &self.stream
            && self.reservation.is_unread_covered()
        {
            stream.connection().reservation.cover_unread();
        }
        there
    }

    /// Closes idle connections until `take` succeeds. Returns whether it did.
    fn evict_until(&self, take: impl Fn() -> bool) -> bool {
        take() || self.limiter.upgrade().is_some_and(|limiter| limiter.close_idle_until(take))
    }

    /// The request that is being answered has that id, whatever becomes of its handler.
    pub(super) fn correlate(&self, correlation: CorrelationId) {
        *self.correlation.lock().unwrap_or_else(PoisonError::into_inner) = Some(correlation);
    }

    /// The correlation id of the request that has ended.
    pub(super) fn take_correlation(&self) -> Option<CorrelationId> {
        self.correlation.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it is about a request among several on its connection.
    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Lets the handler at work take so much longer.
    pub(super) fn extend(&self, more: Duration) {
        let mut state = self.state();
        if state.phase == Phase::Handling {
            state.due = state.due.map(|due| due + more);
        }
    }

    /// Lets each piece of the answer be so much longer in coming than a request.
    pub(super) fn allow_pauses(&self, more: Duration) {
        self.state().piece = self.request + more;
    }

    pub(super) fn wake(&self) {
        self.task.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment: a panic cannot have left half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
