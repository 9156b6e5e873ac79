//! The times at which the events of a log were written, as exactly as a retention needs them.

use std::{collections::VecDeque, time::Duration};

/// The part of the retention by which an event may leave late. It bounds the marks of a log.
const GRAIN: i64 = 1024;

/// The time for which events stay, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention(i64);

impl Retention {
    pub(super) fn new(retention: Duration) -> Self {
        Self(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The times at which a log's events were written, by their numbers. Time never goes back: an event counts as written no
/// earlier than those before it, so that events leave in their order.
#[derive(Debug, Default)]
pub(super) struct Ages(VecDeque<Mark>);

/// A mark: from this event on, up to the next mark, events were written at this time or little later.
#[derive(Debug)]
struct Mark {
    number: u32,
    written_at: i64,
}

impl Ages {
    /// Notes that the event with this number was written at this time, in milliseconds since 1970.
    pub(super) fn push(&mut self, number: u32, written_at: i64, retention: Retention) {
        let grain = retention.0 / GRAIN;
        if self.0.back().is_none_or(|last| written_at > last.written_at.saturating_add(grain)) {
            self.0.push_back(Mark { number, written_at });
        }
    }

    /// The number of the first event that is younger than the retention; `None` if there is none.
    pub(super) fn first_younger(&mut self, now: i64, retention: Retention) -> Option<u32> {
        let oldest = now.saturating_sub(retention.0).saturating_sub(retention.0 / GRAIN);
        while self.0.len() > 1 && self.0.front().is_some_and(|mark| mark.written_at < oldest) {
            self.0.pop_front();
        }
        self.0.front().filter(|mark| mark.written_at >= oldest).map(|mark| mark.number)
    }
}
