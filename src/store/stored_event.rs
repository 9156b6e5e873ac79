//! An event before and after its admission.

use std::ops::Deref;

use super::{ActivityEvent, SequenceNumber};

/// An event as it was read from a partition of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// The record's offset in its partition.
    pub offset: i64,
    /// The time at which the record was written, by the topic, in milliseconds since 1970.
    pub written_at: i64,
    /// The event of the record.
    pub event: ActivityEvent,
}

/// An event that the store has admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event's number in the order among partitions.
    pub sequence: SequenceNumber,
    /// The partition that the event was read from.
    pub partition: i32,
    /// The event's position there: see [`Positions`](super::Positions).
    pub position: i64,
    /// The event itself.
    pub event: ActivityEvent,
}

impl Deref for StoredEvent {
    type Target = ActivityEvent;

    fn deref(&self) -> &ActivityEvent {
        &self.event
    }
}
