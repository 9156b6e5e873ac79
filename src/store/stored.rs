//! An event that was admitted.

use std::ops::Deref;

use super::{Event, Position};

/// An event that was read from a partition of the log, offered to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Where in its partition it stands.
    pub offset: i64,
    /// What stands there.
    pub event: Event,
}

/// An event, and its place in the order of processing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Grows with each event admitted, by one or more.
    pub place: Position,
    /// The partition that it was read from.
    pub partition: i32,
    /// Where it stands there.
    pub offset: i64,
    /// What was admitted.
    pub event: Event,
}

impl Deref for Stored {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}
