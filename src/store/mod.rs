//! Where processed events are: in memory first, databases behind the same trait. Knows no Kafka.

mod content;
mod event;
mod memory;
mod query;
mod stored;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;
use uuid::Uuid;

pub use content::Content;
pub use event::Event;
pub use memory::{Config, MemoryStore, Stats};
pub use query::{Direction, Page, Position, Query};
pub use stored::{Offered, Stored};

/// A store that admits each event once.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Admits the events of one partition in the order given. Whether an event is new is decided by its
    /// eventId in one atomic step, also among concurrent callers. The answer has one entry an event.
    /// On an error the events before it may have been admitted: admitting them again is harmless.
    async fn admit(&self, partition: i32, events: Vec<Offered>) -> Result<Vec<Admission>, StoreError>;

    /// The event, if it is stored.
    async fn get(&self, id: Uuid) -> Result<Option<Arc<Stored>>, StoreError>;

    /// As [`EventStore::get`], but waits for the event to be admitted, at most that long.
    async fn wait_for(&self, id: Uuid, at_most: Duration) -> Result<Option<Arc<Stored>>, StoreError>;

    /// The place after the last one that was given away: a `read` that begins afterwards finds all that is before it,
    /// and so it bounds a listing to what is there when that begins.
    async fn end(&self) -> Result<Position, StoreError>;

    /// The next events that the query asks for, of those whose places are within, in the query's direction, at most
    /// `limit` of them. A page can be shorter, even empty, with [`Page::rest`] set: much had to be looked at for it.
    async fn read(&self, query: &Query, within: Range<Position>, limit: usize) -> Result<Page, StoreError>;

    /// The bound is shared out evenly among so many partitions; events over a smaller share leave at once.
    async fn share_among(&self, partitions: usize) -> Result<(), StoreError>;

    /// What it holds and has seen, where that costs next to nothing to tell.
    fn stats(&self) -> Option<Stats> {
        None
    }

    /// When the event happened that leaves next, of all partitions, in milliseconds since 1970, where that costs next to
    /// nothing to tell.
    fn oldest_millis(&self) -> Option<i64> {
        None
    }

    /// How many events each partition may hold.
    fn share(&self) -> u64;

    /// The offset of the partition's oldest event that it holds, where it holds what a log can give again.
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// Whether the partition's share is used up: an older event would have no room.
    async fn is_full(&self, partition: i32) -> Result<bool, StoreError>;

    /// Forgets the partition's events: another instance has them now.
    async fn forget(&self, partition: i32) -> Result<(), StoreError>;
}

/// What became of an event that was offered.
#[derive(Debug, Clone)]
pub enum Admission {
    /// It is stored, and was not before.
    New(Arc<Stored>),
    /// An event of the same id that says the same was there first, and stays.
    Duplicate,
    /// An event of the same id that says something else was there first, and stays: this one.
    Conflict(Arc<Stored>),
}

/// The store could not do it; it may later.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the store is unavailable: {0}")]
pub struct StoreError(pub String);
