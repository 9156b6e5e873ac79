//! The state of one instance, without Kafka: a pure function of the partitions' records.

use highwater_kafka::{Event as _, Payload, partition_for_key};

/// An event that names the version of its entity that it makes; the first version is 1.
pub trait Versioned: Payload {
    /// All event types, as [`Event::event_type`](highwater_kafka::Event::event_type) names them. A record with another
    /// type was written by a newer program: an instance that skipped it would have another state.
    const TYPES: &'static [&'static str];

    /// The version that the event makes.
    fn version(&self) -> u64;
}

/// The state that a table builds from events.
///
/// Partitions are read independently, so the outcome of an event may depend only on events with the same key. Then
/// every instance builds the same state.
pub trait Projection: Default + Send + Sync + 'static {
    /// The event that the state is built from.
    type Event: Versioned;

    /// The version of the event's entity: the number of its events that were applied so far.
    fn version_of(&self, event: &Self::Event) -> u64;

    /// Applies an event that makes the next version of its entity. If the state does not allow the event, returns false and
    /// changes nothing: the event is rejected.
    fn apply(&mut self, event: Self::Event) -> bool;

    /// The state's bytes in memory, about.
    fn bytes(&self) -> usize;
}

/// The outcome of an event: there is no third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// The event is part of the state.
    Applied,
    /// The event was written on an older state. It counts for nothing, in every instance and for ever.
    Rejected,
}

/// The state of one instance.
#[derive(Debug, Default)]
pub struct Replica<P> {
    projection: P,
    partitions: usize,
    applied: u64,
    rejected: u64,
}

impl<P: Projection> Replica<P> {
    /// An empty state of a topic with this number of partitions.
    pub fn new(partitions: usize) -> Self {
        Self { projection: P::default(), partitions, applied: 0, rejected: 0 }
    }

    /// Applies the next event of a partition's log.
    ///
    /// The whole rule: an event is rejected unless it is in the partition of its key, makes the version after the
    /// current one, and is allowed by the state. A copy of an applied event is rejected by its version.
    pub fn apply(&mut self, partition: i32, event: P::Event) -> EventOutcome {
        let is_in_place = self.partition_of(&event) == partition;
        let is_next = self.projection.version_of(&event).checked_add(1) == Some(event.version());
        if is_in_place && is_next && self.projection.apply(event) {
            self.applied += 1;
            EventOutcome::Applied
        } else {
            self.rejected += 1;
            EventOutcome::Rejected
        }
    }

    /// The partition of the event's key, the only one in which the event can be applied.
    pub fn partition_of(&self, event: &P::Event) -> i32 {
        partition_for_key(event.key().as_bytes(), self.partitions)
    }

    /// The state.
    pub fn projection(&self) -> &P {
        &self.projection
    }

    /// The number of events that were applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The number of events that were rejected.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}
