//! What one instance makes of the log, without Kafka: a pure function of the partitions' records.

use highwater_kafka::{Event as _, Payload, partition_for_key};

/// An event that says which version of its entity it makes, the first being 1.
pub trait Versioned: Payload {
    /// Its types, all of them, as [`Event::event_type`](highwater_kafka::Event::event_type) names them. A record whose
    /// envelope names another was written by a newer program: whoever passes it over has another state.
    const TYPES: &'static [&'static str];

    /// That version.
    fn version(&self) -> u64;
}

/// A view that events are folded into.
///
/// Partitions are read at a pace of their own, so what becomes of an event may depend only on events of the same
/// key: then every instance comes to the same view.
pub trait Fold: Default + Send + Sync + 'static {
    /// What it is folded from.
    type Event: Versioned;

    /// The version of the entity that the event is about: how many of its events were valid so far.
    fn version_of(&self, event: &Self::Event) -> u64;

    /// Takes in an event that makes the next version of its entity. False where the state does not allow it: it
    /// is void, and nothing has changed.
    fn apply(&mut self, event: Self::Event) -> bool;

    /// About how many bytes of memory it takes, counted on by [`Fold::apply`].
    fn bytes(&self) -> usize;
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is part of the state.
    Valid,
    /// It was written on a state that was no longer: it counts for nothing, everywhere and for ever.
    Void,
}

/// The view of one instance.
#[derive(Debug, Default)]
pub struct Replica<F> {
    view: F,
    partitions: usize,
    applied: u64,
    void: u64,
}

impl<F: Fold> Replica<F> {
    /// An empty view of a topic of so many partitions.
    pub fn new(partitions: usize) -> Self {
        Self { view: F::default(), partitions, applied: 0, void: 0 }
    }

    /// Takes in the next event of a partition's log.
    ///
    /// The rule, in whole: an event is void unless it is in the partition of its key, makes the version after the
    /// current one, and is allowed by the state. A copy of a valid event is void by its version.
    pub fn admit(&mut self, partition: i32, event: F::Event) -> Fate {
        let at_home = self.home(&event) == partition;
        let is_next = self.view.version_of(&event).checked_add(1) == Some(event.version());
        if at_home && is_next && self.view.apply(event) {
            self.applied += 1;
            Fate::Valid
        } else {
            self.void += 1;
            Fate::Void
        }
    }

    /// The partition of an event's key: the only one in which it counts.
    pub fn home(&self, event: &F::Event) -> i32 {
        partition_for_key(event.key().as_bytes(), self.partitions)
    }

    /// The state.
    pub fn view(&self) -> &F {
        &self.view
    }

    /// How many events were valid.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// How many events were void.
    pub fn void(&self) -> u64 {
        self.void
    }
}
