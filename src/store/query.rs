//! What can be asked of a store.

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};

use super::Stored;

/// Which events; an absent field asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Exactly this user.
    pub user_id: Option<String>,
    /// This type, compared without case.
    pub event_type: Option<String>,
    /// The event's timestamp, from here on.
    pub from: Option<DateTime<Utc>>,
    /// The event's timestamp, before here.
    pub to: Option<DateTime<Utc>>,
    /// Which of them come first.
    pub direction: Direction,
}

/// Which way through the order of processing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// What was processed first comes first.
    #[default]
    Forward,
    /// What was processed last comes first.
    Backward,
}

impl Direction {
    /// What is left of a stretch from that place on, which is the next.
    pub fn from(self, place: Position, within: Range<Position>) -> Range<Position> {
        match self {
            Self::Forward => place..within.end,
            Self::Backward => within.start..Position(place.0 + 1),
        }
    }
}

/// A place in the order of processing. Grows with each event, by one or more; has no meaning after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A stretch of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Arc<Stored>>,
    /// The places at which there may be more; `None` when there is nothing more.
    pub rest: Option<Range<Position>>,
}
