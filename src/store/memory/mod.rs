//! The in-memory store, on `scc::HashMap`.
//!
//! Admission is one atomic step: `entry` of `scc::HashMap` locks the bucket of the id while it inserts, so exactly one of
//! any number of callers finds the id vacant. The map as a whole is never locked, and grows without stopping its users.
//! The order of processing and the indexes are in one log per partition. Each log is behind a read-write lock, which is
//! taken once for a batch of events or a page of a listing. No lock is held across an await.

mod ages;
mod columns;
mod index;
mod merge;
mod retention;
mod scan;
mod store_log;
mod store_logs;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use log::warn;
use scc::{HashMap, hash_map::Entry};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    ActivityEvent, Admission, Erasure, ErasureCounts, EventPage, EventQuery, EventRecord, EventStore,
    LogPosition, Positions, SequenceNumber, Span, StoreError, StoredEvent, erasure::ErasureCounter,
    event::user_json, waiters::Waiters,
};
use ages::Retention;
use store_log::StoreLog;
use store_logs::StoreLogs;

/// The number of events that leave or are erased before the task yields: about a millisecond of work.
const EVICTION_BATCH: usize = 4096;

/// The bounds of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The most events in memory, divided among the topic's partitions.
    pub max_events: u64,
    /// The most bytes that the events take, divided in the same way.
    pub max_bytes: u64,
}

/// A store of events in memory.
#[derive(Debug)]
pub struct MemoryStore {
    bounds: Config,
    partitions: AtomicU64,
    /// `None` for an event that was erased, or was older than the retention.
    by_id: HashMap<Uuid, Option<Arc<StoredEvent>>>,
    logs: StoreLogs,
    waiters: Waiters,
    duplicates: AtomicU64,
    evicted: AtomicU64,
    retention: Option<Retention>,
    expired: AtomicU64,
    erasures: ErasureCounter,
    warned: AtomicBool,
}

/// The bounds of one partition.
#[derive(Debug, Clone, Copy)]
struct PartitionBounds {
    events: u64,
    bytes: u64,
}

/// The outcome of an admission, as far as it is known under the lock of the log.
type Inserted = Result<Arc<StoredEvent>, Box<IdTaken>>;

/// An event whose id is taken, and the event that has it.
struct IdTaken {
    /// `None` if the event has left, and its id has not.
    first: Option<Arc<StoredEvent>>,
    event: ActivityEvent,
}

/// Counters of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Events in the store.
    pub events: u64,
    /// Events that were not admitted, since their ids were stored.
    pub duplicates: u64,
    /// Events that left for newer ones.
    pub evicted: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(config: &Config) -> Self {
        Self {
            bounds: config.clone(),
            partitions: AtomicU64::new(1),
            by_id: HashMap::new(),
            logs: StoreLogs::default(),
            waiters: Waiters::default(),
            duplicates: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            retention: None,
            expired: AtomicU64::new(0),
            erasures: ErasureCounter::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// The number of ids that requests wait for. For tests: no other way tells that a wait has begun, or left nothing behind.
    #[doc(hidden)]
    pub fn awaited_ids(&self) -> usize {
        self.waiters.len()
    }

    /// The counters as they are now.
    pub fn stats(&self) -> Stats {
        Stats {
            events: self.logs.events() as u64,
            duplicates: self.duplicates.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    fn find(&self, id: Uuid) -> Option<Arc<StoredEvent>> {
        self.by_id.read_sync(&id, |_, stored| stored.clone()).flatten()
    }

    fn insert(
        &self,
        partition: i32,
        sequence: SequenceNumber,
        position: i64,
        event: ActivityEvent,
    ) -> Inserted {
        match self.by_id.entry_sync(event.id()) {
            Entry::Occupied(first) => Err(Box::new(IdTaken { first: first.get().clone(), event })),
            Entry::Vacant(entry) => {
                let stored = Arc::new(StoredEvent { sequence, partition, position, event });
                entry.insert_entry(Some(Arc::clone(&stored)));
                Ok(stored)
            }
        }
    }

    /// Compares two events of one id. It runs without a lock, since a comparison can take a while.
    fn compare(&self, taken: IdTaken) -> Admission {
        let IdTaken { first, event } = taken;
        self.duplicates.fetch_add(1, Ordering::Relaxed);
        match first {
            Some(first) if !first.has_same_content_as(&event) => Admission::Conflict(first),
            _ => Admission::Duplicate,
        }
    }

    /// Evicts the oldest events beyond the bounds from the log and the map, at most `most` of them. Returns whether
    /// more may follow.
    fn evict(&self, log: &mut StoreLog, partition: i32, most: usize) -> bool {
        let bounds = self.partition_bounds();
        let before = log.events();
        let mut left = 0;
        while left < most && log.is_over(bounds) {
            let Some(oldest) = log.evict_oldest() else { break };
            self.by_id.remove_sync(&oldest);
            left += 1;
        }
        if left == 0 {
            return false;
        }
        self.evicted.fetch_add((before - log.events()) as u64, Ordering::Relaxed);
        if !self.warned.swap(true, Ordering::Relaxed) {
            let Config { max_events, max_bytes } = self.bounds;
            warn!(
                "the store is full: partition {partition} holds {} events, and the oldest leave for newer ones \
                 (STORE_MAX_EVENTS={max_events}, STORE_MAX_BYTES={max_bytes})",
                log.events()
            );
        }
        log.is_over(bounds)
    }

    fn partition_bounds(&self) -> PartitionBounds {
        let partitions = self.partitions.load(Ordering::Relaxed);
        let of = |most: u64| (most / partitions).max(1);
        PartitionBounds { events: of(self.bounds.max_events), bytes: of(self.bounds.max_bytes) }
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn admit(
        &self,
        partition: i32,
        records: Vec<EventRecord>,
        _next: LogPosition,
    ) -> Result<Vec<Admission>, StoreError> {
        let inserted = self.logs.append(partition, records.len(), |log, SequenceNumber(first)| {
            let numbers = (first..).map(SequenceNumber);
            let written_at: Vec<i64> = records.iter().map(|record| record.written_at).collect();
            let mut numbering = log.numbering();
            let insert = |(sequence, EventRecord { offset, event, .. })| {
                let (position, next) = numbering.assign(offset);
                // A copy has no position: an event that is read again stays where it is.
                let inserted = self.insert(partition, sequence, position, event);
                if inserted.is_ok() {
                    numbering = next;
                }
                inserted
            };
            let inserted: Vec<Inserted> = numbers.zip(records).map(insert).collect();
            let new = inserted.iter().zip(written_at);
            let new = new.filter_map(|(inserted, written_at)| Some((inserted.as_ref().ok()?, written_at)));
            log.extend(new, numbering, self.retention);
            self.evict(log, partition, usize::MAX);
            self.expire(log, usize::MAX);
            inserted
        });
        self.waiters.wake(inserted.iter().filter_map(|inserted| inserted.as_ref().ok()));
        let outcome = |it: Inserted| it.map_or_else(|taken| self.compare(*taken), Admission::New);
        Ok(inserted.into_iter().map(outcome).collect())
    }

    fn admissions(&self) -> watch::Receiver<()> {
        self.waiters.admissions()
    }

    async fn erase(&self, partition: i32, erasure: &Erasure, _next: LogPosition) -> Result<(), StoreError> {
        let user = user_json(&erasure.user_id);
        let is_known = |log: &StoreLog| log.knows_erasure(erasure.offset, &user);
        if self.logs.look(partition, is_known).unwrap_or(false) {
            return Ok(());
        }
        let mut events = 0;
        loop {
            let erased = self.logs.append(partition, 0, |log, _| {
                let ids = log.erase(&user, erasure.offset, EVICTION_BATCH);
                for id in &ids {
                    self.by_id.update_sync(id, |_, stored| *stored = None);
                }
                if ids.len() < EVICTION_BATCH {
                    log.note_erasure(erasure.offset, &user);
                }
                ids.len()
            });
            events += erased as u64;
            if erased < EVICTION_BATCH {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.erasures.add(events);
        Ok(())
    }

    fn erased_below(&self, partition: i32) -> i64 {
        self.logs.look(partition, StoreLog::erased_below).unwrap_or(i64::MIN)
    }

    async fn is_erased(&self, partition: i32, user_id: &str, offset: i64) -> Result<bool, StoreError> {
        let user = user_json(user_id);
        Ok(self.logs.look(partition, |log| log.is_erased(offset, &user)).unwrap_or(false))
    }

    fn erasures(&self) -> ErasureCounts {
        self.erasures.counts()
    }

    async fn get(&self, id: Uuid) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        Ok(self.find(id))
    }

    async fn wait_for(&self, id: Uuid, timeout: Duration) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        // The waiter registers before the look, so that an admission in between wakes it.
        let waiter = self.waiters.register(id);
        if let Some(stored) = self.find(id) {
            return Ok(Some(stored));
        }
        Ok(tokio::time::timeout(timeout, waiter.found()).await.unwrap_or_default())
    }

    async fn end(&self) -> Result<Positions, StoreError> {
        Ok(self.logs.end())
    }

    async fn read(&self, query: &EventQuery, within: Span, limit: usize) -> Result<EventPage, StoreError> {
        Ok(self.logs.look_at_all(|logs| merge::page(logs, query, &within, limit)))
    }

    async fn set_partition_count(&self, partitions: usize) -> Result<(), StoreError> {
        self.partitions.store(partitions.max(1) as u64, Ordering::Relaxed);
        for partition in self.logs.partitions() {
            let evict = || self.logs.change(partition, |log| self.evict(log, partition, EVICTION_BATCH));
            while evict().unwrap_or(false) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn expired(&self) -> Option<u64> {
        self.retention.map(|_| self.expired.load(Ordering::Relaxed))
    }

    fn oldest_millis(&self) -> Option<i64> {
        self.logs.oldest_millis()
    }

    fn stats(&self) -> Option<Stats> {
        Some(MemoryStore::stats(self))
    }

    fn max_events_per_partition(&self) -> u64 {
        self.partition_bounds().events
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.logs.look(partition, StoreLog::held_from).flatten()
    }

    fn restores_from(&self, partition: i32, offset: i64) {
        if self.logs.look(partition, |_| ()).is_none() {
            self.logs.append(partition, 0, |log, _| *log = StoreLog::beginning_at(offset));
        }
    }

    async fn is_full(&self, partition: i32) -> Result<bool, StoreError> {
        let bounds = self.partition_bounds();
        Ok(self.logs.look(partition, |log| log.is_full(bounds)).unwrap_or(false))
    }

    async fn forget(&self, partition: i32) -> Result<(), StoreError> {
        let Some(log) = self.logs.remove(partition) else { return Ok(()) };
        let mut removed = RemovedLog { by_id: &self.by_id, log };
        while removed.step() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// A removed log, whose events leave the map as well. Dropping it removes the remaining ones, so that a cancelled task
/// leaves none behind.
struct RemovedLog<'a> {
    by_id: &'a HashMap<Uuid, Option<Arc<StoredEvent>>>,
    log: StoreLog,
}

impl RemovedLog<'_> {
    /// Removes some events. Returns whether more may follow.
    fn step(&mut self) -> bool {
        for _ in 0..EVICTION_BATCH {
            let Some(oldest) = self.log.pop_oldest() else { return false };
            self.by_id.remove_sync(&oldest);
        }
        true
    }
}

impl Drop for RemovedLog<'_> {
    fn drop(&mut self) {
        while self.step() {}
    }
}
