//! Queries and their results.

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};

use super::StoredEvent;

/// The filters of a listing. A field that is `None` filters nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// The user, compared exactly.
    pub user_id: Option<String>,
    /// The event type, compared without case.
    pub event_type: Option<String>,
    /// The earliest timestamp, inclusive.
    pub from: Option<DateTime<Utc>>,
    /// The latest timestamp, exclusive.
    pub to: Option<DateTime<Utc>>,
    /// The order of the results.
    pub direction: Direction,
}

/// The direction through the order of processing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// The first processed event comes first.
    #[default]
    Forward,
    /// The last processed event comes first.
    Backward,
}

impl Direction {
    /// The part of `within` that is left when `next` is the next event.
    pub fn rest(self, next: SequenceNumber, within: Range<SequenceNumber>) -> Range<SequenceNumber> {
        match self {
            Self::Forward => next..within.end,
            Self::Backward => within.start..SequenceNumber(next.0 + 1),
        }
    }
}

/// An event's number in the order of processing. It grows with each event, by one or more. After a restart the
/// in-memory store counts anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceNumber(pub u64);

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events, in the query's order.
    pub events: Vec<Arc<StoredEvent>>,
    /// The sequence numbers that are still to be read; `None` after the last event.
    pub rest: Option<Range<SequenceNumber>>,
}
