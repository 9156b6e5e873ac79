//! An event that was admitted.

use std::ops::Deref;

use super::{Event, Position};

/// An event, and its place in the order of processing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Grows with each event admitted.
    pub place: Position,
    /// What was admitted.
    pub event: Event,
}

impl Deref for Stored {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}
