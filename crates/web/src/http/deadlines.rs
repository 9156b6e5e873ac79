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

/// The time for which an idle connection is kept: longer than the minute after which load balancers and proxies usually
/// close theirs. The client must close first, or its request can meet a closing connection.
const IDLE: Duration = Duration::from_secs(75);
/// The time in which a client that does not keep up with an answer must take [`LEAST`] bytes of it.
const STALL: Duration = Duration::from_secs(30);
/// The bytes to be taken in that time, or all that are there, where they are fewer.
const LEAST: usize = 64 * 1024;
/// The longest wait for a client to hear that a connection takes no more requests.
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
    /// The request's part in a connection with several requests.
    stream: Option<OpenStream>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The time at which the phase has lasted too long.
    due: Option<Instant>,
    /// The longest wait for the next piece of an answer.
    piece: Duration,
    /// The bytes that the peer has to take, and the time by which, while it does not keep up.
    behind: Option<Behind>,
    /// The time since when the connection is idle: nothing is asked, and nothing is left to be sent.
    idle: Option<Instant>,
    /// Whether the connection was closed to make room. A request that arrived at the same time is still answered.
    evicted: bool,
    /// The number of requests under way, on a connection that may have several.
    streams: Option<usize>,
    /// The pieces of an answer that have not left yet.
    pieces: usize,
    /// The answer has no end.
    endless: bool,
    /// The last request was a write: its method is not safe (RFC 9110, 9.2.1).
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
    /// No byte has come yet.
    New,
    /// A request's head is arriving.
    Head,
    /// An answer was given, and no byte of the next request has come.
    Idle,
    /// A handler is at work.
    Handling,
    /// A handler has worked for too long, and is to be dropped.
    Overdue,
    /// The answer's body is being sent.
    Answering,
    /// The peer reads nothing, or almost nothing.
    Stalled,
}

impl State {
    /// Whether the peer has not taken all of an answer yet. The connection is not over before that.
    fn is_sending(&self) -> bool {
        self.phase == Phase::Idle && self.behind.is_some()
    }
}

impl ConnectionDeadlines {
    /// The deadlines of a new connection: of a head, and of the beginning of an answer.
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

    /// The time at which to call [`ConnectionDeadlines::overdue`].
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.state();
        let behind = state.behind.map(|behind| behind.due);
        if state.is_sending() { behind } else { state.due.into_iter().chain(behind).min() }
    }

    /// The phase that has lasted too long, if there is one. An overdue handler is reported once.
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

    /// The time since when the connection is idle, if it is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle
    }

    /// Whether no byte has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.state().phase == Phase::New
    }

    /// The current phase if the connection waits for a request and its last one suggests a read.
    pub(super) fn expects_read(&self) -> Option<Phase> {
        let state = self.state();
        // An evicted connection closes at once.
        let reads = !state.writes && !state.evicted && state.streams.is_none();
        (reads && matches!(state.phase, Phase::New | Phase::Idle)).then_some(state.phase)
    }

    /// Closes the connection if it has been idle since this time; returns whether it was.
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

    /// Wakes this task when the connection is to make room.
    pub(super) fn watch(&self, task: &Waker) {
        self.task.register(task);
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.state().phase == Phase::Overdue
    }

    /// Bytes have come. Those of a body, or of a request that is sent ahead, change no deadline.
    pub(super) fn bytes_came(&self) {
        let mut state = self.state();
        if state.streams.is_some() && (state.phase != Phase::New || state.leaving) {
            // Requests alone make a connection with several requests busy, not other bytes of its client.
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
        // The next request came together with the one before it: no further byte announces it.
        *state =
            State { phase: Phase::Handling, due, piece: self.request, idle: None, endless: false, ..*state };
    }

    pub(super) fn answer_began(&self) {
        let mut state = self.state();
        *state = State { phase: Phase::Answering, due: None, ..*state };
    }

    /// The next piece of an answer's body is being made, and has as much time as a request.
    pub(super) fn answer_pending(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering && state.due.is_none() {
            state.due = Some(Instant::now() + state.piece);
        }
    }

    /// More of the request's body has come. The answer that is given meanwhile gets new time.
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

    /// The peer took these bytes after all.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.behind = match state.behind {
            Some(behind) if behind.bytes > bytes => Some(Behind { bytes: behind.bytes - bytes, ..behind }),
            _ => None,
        };
    }

    /// The peer has caught up.
    pub(super) fn all_written(&self) {
        let mut state = self.state();
        state.behind = None;
        if state.phase == Phase::Idle {
            self.become_idle(&mut state);
        } else if state.endless {
            self.reservation.release_request();
        }
    }

    /// The answer has no end. Thousands of such answers mostly wait: each takes memory only while its peer has unread bytes.
    pub(super) fn answer_is_endless(&self) {
        self.state().endless = true;
    }

    /// Takes memory for the current request; returns whether it was free.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.evict_until(|| self.reservation.take(bytes))
    }

    /// Takes the cost of an answer of this length, or of unknown length; returns whether it was free.
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

    /// Notes the id of the current request, which counts whatever happens to its handler.
    pub(super) fn correlate(&self, correlation: CorrelationId) {
        *self.correlation.lock().unwrap_or_else(PoisonError::into_inner) = Some(correlation);
    }

    /// The correlation id of the request that has ended.
    pub(super) fn take_correlation(&self) -> Option<CorrelationId> {
        self.correlation.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether these are the deadlines of one request of several on a connection.
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
        // Each change is a single assignment, so a panic cannot leave half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
