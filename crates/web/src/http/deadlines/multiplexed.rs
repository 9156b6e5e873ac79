//! The deadlines of a connection with TLS, which may have several requests at a time.

use std::{cell::Cell, sync::Weak};

use tokio::time::Instant;

use super::{
    super::budget::MemoryReservation, Behind, ConnectionDeadlines, FAREWELL, LEAST, OpenStream, Phase, STALL,
    State,
};

impl ConnectionDeadlines {
    /// Takes memory for the life of the connection; returns whether it was free.
    pub(in crate::http) fn keep(&self, bytes: usize) -> bool {
        self.evict_until(|| self.reservation.keep(bytes))
    }

    /// The TLS handshake is over: the deadlines begin as those of a new connection.
    pub(in crate::http) fn hands_shaken(&self) {
        let mut state = self.state();
        if !state.evicted {
            let now = Instant::now();
            *state = State { phase: Phase::New, due: Some(now + self.head), idle: Some(now), ..*state };
        }
    }

    /// Several requests at a time are possible from now on.
    pub(in crate::http) fn multiplex(&self) {
        self.state().streams = Some(0);
    }

    /// The deadlines of a new request, and whether there is memory for it.
    pub(in crate::http) fn stream(&self, stream: OpenStream) -> (Self, bool) {
        let budget = self.reservation.budget();
        let made = Cell::new(None);
        let is_there = self.evict_until(|| {
            let reservation = MemoryReservation::new(budget);
            let is_there = reservation.is_some();
            made.set(reservation);
            is_there
        });
        let reservation = made.into_inner().unwrap_or_else(|| MemoryReservation::none(budget));
        let deadlines = Self::new(self.head, self.request, reservation, Weak::clone(&self.limiter));
        (Self { stream: Some(stream), ..deadlines }, is_there)
    }

    /// One more request is under way.
    pub(in crate::http) fn stream_began(&self) {
        let mut state = self.state();
        let streams = state.streams.map(|streams| streams + 1);
        *state = State { phase: Phase::Answering, due: None, idle: None, streams, ..*state };
    }

    /// All of an answer has left.
    pub(in crate::http) fn stream_ended(&self) {
        let mut state = self.state();
        state.streams = state.streams.map(|streams| streams.saturating_sub(1));
        if state.streams == Some(0) {
            drop(state);
            self.answer_ended();
            // It has a deadline again.
            self.task.wake();
        }
    }

    /// The client is told that the connection takes no more requests. Without requests under way, it closes after a moment.
    pub(in crate::http) fn leave(&self) {
        let mut state = self.state();
        if state.streams.is_none() {
            // HTTP/1.1 tells it in an answer.
            return;
        }
        state.leaving = true;
        if state.phase != Phase::Answering {
            state.due = Some(Instant::now() + FAREWELL);
        }
    }

    /// A piece of the answer is on its way.
    pub(in crate::http) fn piece_given(&self) {
        let mut state = self.state();
        state.pieces += 1;
        state.behind.get_or_insert(Behind { due: Instant::now() + STALL, bytes: LEAST });
    }

    /// A piece of the answer has left.
    pub(in crate::http) fn piece_left(&self) {
        let mut state = self.state();
        state.pieces -= 1;
        if state.pieces == 0 {
            state.behind = None;
        }
    }
}
