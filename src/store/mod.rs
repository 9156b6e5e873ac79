//! The store of processed events: a trait, and an implementation in memory. This module knows nothing of Kafka.

mod content_hash;
mod event;
mod memory;
mod query;
mod stored_event;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;
use uuid::Uuid;

pub use content_hash::ContentHash;
pub use event::ActivityEvent;
pub use memory::{Config, MemoryStore, Stats};
pub use query::{Direction, EventPage, EventQuery, SequenceNumber};
pub use stored_event::{EventRecord, StoredEvent};

/// A store that admits each `eventId` once.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Admits the events of one partition, in the order given. One atomic step decides by the eventId whether an
    /// event is new, also among concurrent callers. The result has one entry per event.
    ///
    /// # Errors
    ///
    /// The store is unavailable. Some of the events may have been admitted; it is safe to admit them again.
    async fn admit(&self, partition: i32, records: Vec<EventRecord>) -> Result<Vec<Admission>, StoreError>;

    /// The event of this id, if it is stored.
    async fn get(&self, id: Uuid) -> Result<Option<Arc<StoredEvent>>, StoreError>;

    /// As [`EventStore::get`], but waits up to `timeout` for the event to be admitted.
    async fn wait_for(&self, id: Uuid, timeout: Duration) -> Result<Option<Arc<StoredEvent>>, StoreError>;

    /// The sequence number after the last one that was assigned. A [`read`](EventStore::read) that begins later finds
    /// every event below it, so it bounds a listing to the events that exist when the listing begins.
    async fn end(&self) -> Result<SequenceNumber, StoreError>;

    /// The next events that match the query and whose sequence numbers are in `within`, in the query's direction, at
    /// most `limit` of them. A page may be shorter than `limit`, even empty, although [`EventPage::rest`] is set: the
    /// store bounds the work of one call.
    async fn read(
        &self,
        query: &EventQuery,
        within: Range<SequenceNumber>,
        limit: usize,
    ) -> Result<EventPage, StoreError>;

    /// Divides the store's bounds evenly among this many partitions. Events beyond a smaller bound leave at once.
    async fn set_partition_count(&self, partitions: usize) -> Result<(), StoreError>;

    /// Counters of the store; `None` where they would be costly.
    fn stats(&self) -> Option<Stats> {
        None
    }

    /// The timestamp of the event that leaves next, in milliseconds since 1970; `None` where it is not known.
    fn oldest_millis(&self) -> Option<i64> {
        None
    }

    /// The most events that one partition may hold.
    fn max_events_per_partition(&self) -> u64;

    /// The offset from which the log can restore what the store holds of this partition; `None` where the store
    /// needs no restoring or holds nothing.
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// Whether the partition has reached its bound, so that an older event would not fit.
    async fn is_full(&self, partition: i32) -> Result<bool, StoreError>;

    /// Drops the partition's events: another instance has them now.
    async fn forget(&self, partition: i32) -> Result<(), StoreError>;
}

/// The outcome of admitting one event.
#[derive(Debug, Clone)]
pub enum Admission {
    /// The event is stored now and was not before.
    New(Arc<StoredEvent>),
    /// An event of the same id and content was stored before; that one stays.
    Duplicate,
    /// This event of the same id and other content was stored before; it stays.
    Conflict(Arc<StoredEvent>),
}

/// The store did not carry out the call; a later attempt may succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the store is unavailable: {0}")]
pub struct StoreError(pub String);
