//! The store of processed events: a trait, and an implementation in memory. This module knows nothing of Kafka.

mod content_hash;
mod erasure;
mod event;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod stored_event;
mod waiters;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use uuid::Uuid;

pub use content_hash::ContentHash;
pub use erasure::{Erasure, ErasureCounts};
pub use event::ActivityEvent;
pub use memory::{Config, MemoryStore, Stats};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresConfig, PostgresStore, PostgresUrl, Rebuild, Swapped};
pub use query::{Criteria, Direction, EventPage, EventQuery, PAGE_BYTES, Positions, SequenceNumber, Span};
pub use stored_event::{EventRecord, StoredEvent};

/// A store that admits each `eventId` once.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Whether the store keeps the partition's position, and the position. Claims the partition: later writes of the process
    /// that claimed it before are refused. The caller takes the partition up when it gets it, and again after each error of
    /// [`admit`](EventStore::admit), since a batch may be stored although its answer was lost.
    async fn take_up(&self, _partition: i32, _log: &Log) -> Result<Start, StoreError> {
        Ok(Start::NotKept)
    }

    /// Whether the claim of [`take_up`](EventStore::take_up) is the newest and the position has not moved, as far as is
    /// known: then the partition need not be taken up again.
    fn is_claimed(&self, _partition: i32) -> bool {
        true
    }

    /// The partition's next record is at this place, whatever the store's position was.
    async fn move_to(&self, _partition: i32, _next: LogPosition) -> Result<(), StoreError> {
        Ok(())
    }

    /// Everything below this place is done, though none of it may be stored.
    async fn advance(&self, _partition: i32, _next: LogPosition) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether all instances have the same events: then an answer covers all partitions.
    fn is_shared(&self) -> bool {
        false
    }

    /// The reason why the store cannot be used now.
    fn error(&self) -> Option<String> {
        None
    }

    /// Admits the events of one partition, in the order given. One atomic step decides by the eventId whether an
    /// event is new, also among concurrent callers. The result has one entry per event. A store that keeps positions
    /// moves the partition's to `next` in the same step.
    ///
    /// # Errors
    ///
    /// The store is unavailable. Some of the events may have been admitted; it is safe to admit them again.
    async fn admit(
        &self,
        partition: i32,
        records: Vec<EventRecord>,
        next: LogPosition,
    ) -> Result<Vec<Admission>, StoreError>;

    /// Conflicts of stored batches whose copies could not be compared then, as far as [`take_up`](EventStore::take_up) has
    /// found them. Each comes once: the offset, with the event that was stored first.
    fn late_conflicts(&self, _partition: i32) -> Vec<(i64, Arc<StoredEvent>)> {
        Vec::new()
    }

    /// Changes whenever this process has admitted events. It says nothing of other processes that admit to the same store.
    fn admissions(&self) -> watch::Receiver<()>;

    /// Erases the events of a user that the partition had before the erasure. Their ids stay known: a copy is a duplicate.
    /// The erasure stays known, too, for [`is_erased`](EventStore::is_erased). A store that keeps positions moves the
    /// partition's to `next` once all of it is done.
    ///
    /// # Errors
    ///
    /// The store is unavailable. Some of the events may be erased; it is safe to erase them again.
    async fn erase(&self, partition: i32, erasure: &Erasure, next: LogPosition) -> Result<(), StoreError>;

    /// The offset below which a record of the partition may be of an erased user. Later records need no call of
    /// [`is_erased`](EventStore::is_erased).
    fn erased_below(&self, partition: i32) -> i64;

    /// Whether the user's record at this offset of the partition came before a known erasure of that user.
    async fn is_erased(&self, partition: i32, user_id: &str, offset: i64) -> Result<bool, StoreError>;

    /// The counts of erasures by this process.
    fn erasures(&self) -> ErasureCounts;

    /// The offset below which each partition's records are processed, by any instance; `None` if the store does not keep
    /// positions.
    async fn next_offsets(&self) -> Result<Option<BTreeMap<i32, i64>>, StoreError> {
        Ok(None)
    }

    /// The event of this id, if it is stored.
    async fn get(&self, id: Uuid) -> Result<Option<Arc<StoredEvent>>, StoreError>;

    /// As [`EventStore::get`], but waits up to `timeout` for the event to be admitted.
    async fn wait_for(&self, id: Uuid, timeout: Duration) -> Result<Option<Arc<StoredEvent>>, StoreError>;

    /// The position after the last event of each partition. A [`read`](EventStore::read) that begins later finds every
    /// event below it, so it bounds a listing to the events that exist when the listing begins.
    async fn end(&self) -> Result<Positions, StoreError>;

    /// The next events that match the query and are within the span, in the query's direction, at most `limit` of them. A page
    /// may be shorter than `limit`, even empty, although [`EventPage::rest`] is set: the store bounds the work of one call, and
    /// its memory ([`PAGE_BYTES`]).
    async fn read(&self, query: &EventQuery, within: Span, limit: usize) -> Result<EventPage, StoreError>;

    /// Divides the store's bounds evenly among this many partitions. Events beyond a smaller bound leave at once.
    async fn set_partition_count(&self, partitions: usize) -> Result<(), StoreError>;

    /// Counters of the store; `None` if they would be costly.
    fn stats(&self) -> Option<Stats> {
        None
    }

    /// The number of events that this process has deleted since they were older than the retention; `None` if the store has
    /// no retention.
    fn expired(&self) -> Option<u64> {
        None
    }

    /// The timestamp of the event that leaves next, in milliseconds since 1970; `None` if it is not known.
    fn oldest_millis(&self) -> Option<i64> {
        None
    }

    /// The most events that one partition may hold.
    fn max_events_per_partition(&self) -> u64;

    /// The offset from which the log can restore the store's events of this partition; `None` if the store needs no
    /// restoring or holds nothing.
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// The partition is about to be restored from this offset on. A store that has nothing of it yet will not have the events
    /// before it.
    fn restores_from(&self, _partition: i32, _offset: i64) {}

    /// Whether the partition has reached its bound, so that an older event would not fit.
    async fn is_full(&self, partition: i32) -> Result<bool, StoreError>;

    /// Drops the partition's events: another instance has them now.
    async fn forget(&self, partition: i32) -> Result<(), StoreError>;
}

/// Ticks at which events older than the retention are deleted: a tenth of it, within bounds.
fn retention_interval(retention: Duration) -> Interval {
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(60);

    let mut ticks = interval((retention / 10).clamp(LEAST, MOST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A partition of the log, when it is taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The topic's id, which tells it from an earlier one with the same name. `None` if it is not known.
    pub topic_id: Option<Uuid>,
    /// The offsets that the log has.
    pub offsets: Range<i64>,
}

/// The next record of a partition, and the leader epoch of the record before it. The epoch tells whether the log still has
/// the records that were read (KIP-320).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// The offset of the next record.
    pub offset: i64,
    /// The leader epoch of the record before it; `None` if it is not known.
    pub leader_epoch: Option<i32>,
}

impl From<i64> for LogPosition {
    /// A place whose leader epoch is not known.
    fn from(offset: i64) -> Self {
        Self { offset, leader_epoch: None }
    }
}

/// The start of a partition's processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The store keeps no positions.
    NotKept,
    /// The store keeps positions, and has none of this partition.
    Unknown,
    /// At this record.
    At(LogPosition),
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
pub struct StoreError(String);

impl StoreError {
    /// An error for that reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
