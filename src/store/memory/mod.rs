//! The in-memory store, on `scc::HashMap`.
//!
//! Admission is one atomic step: `entry` of `scc::HashMap` locks the one bucket that the id belongs to for
//! as long as it takes to insert, so of any number of callers exactly one finds the id vacant. The map as a
//! whole is never locked, and grows without stopping its users. The order of processing and the indexes
//! are lanes, one a partition, each behind a read-write lock that is taken once for a batch of
//! events or a page of answers. No lock and no guard is held across an await.

mod columns;
mod index;
mod lane;
mod merge;
mod order;
mod waiters;
mod walk;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use log::warn;
use scc::{HashMap, hash_map::Entry};
use uuid::Uuid;

use super::{Admission, Event, EventStore, Offered, Page, Position, Query, StoreError, Stored};
use lane::Lane;
use order::Order;
use waiters::Waiters;

/// How many events leave between two chances for others to run: about a millisecond's worth.
const STEP: usize = 4096;

/// The bounds of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The most events in memory, shared out among the topic's partitions.
    pub max_events: u64,
    /// The most bytes that they take, shared out in the same way.
    pub max_bytes: u64,
}

/// Events in memory.
#[derive(Debug)]
pub struct MemoryStore {
    bounds: Config,
    partitions: AtomicU64,
    by_id: HashMap<Uuid, Arc<Stored>>,
    order: Order,
    waiters: Waiters,
    duplicates: AtomicU64,
    evicted: AtomicU64,
    warned: AtomicBool,
}

/// What one partition may hold.
#[derive(Debug, Clone, Copy)]
struct Share {
    events: u64,
    bytes: u64,
}

/// What became of an event, as far as it is known while the lane is locked.
type Admitted = Result<Arc<Stored>, Box<Repeated>>;

/// An event whose id was there, and who has it.
struct Repeated {
    first: Arc<Stored>,
    event: Event,
}

/// What the store holds and has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Events in the store.
    pub events: u64,
    /// Events that were offered again and not admitted.
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
            order: Order::default(),
            waiters: Waiters::default(),
            duplicates: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    /// How many ids somebody waits for.
    pub fn awaited(&self) -> usize {
        self.waiters.len()
    }

    /// What it holds now.
    pub fn stats(&self) -> Stats {
        Stats {
            events: self.order.len() as u64,
            duplicates: self.duplicates.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    fn find(&self, id: Uuid) -> Option<Arc<Stored>> {
        self.by_id.read_sync(&id, |_, stored| Arc::clone(stored))
    }

    fn admit_one(&self, partition: i32, place: Position, offered: Offered) -> Admitted {
        let Offered { offset, event } = offered;
        match self.by_id.entry_sync(event.id()) {
            Entry::Occupied(first) => Err(Box::new(Repeated { first: Arc::clone(first.get()), event })),
            Entry::Vacant(entry) => {
                let stored = Arc::new(Stored { place, partition, offset, event });
                entry.insert_entry(Arc::clone(&stored));
                Ok(stored)
            }
        }
    }

    /// What became of an event whose id was there; without a lock, as looking closely can take a while.
    fn judge(&self, repeated: Repeated) -> Admission {
        let Repeated { first, event } = repeated;
        self.duplicates.fetch_add(1, Ordering::Relaxed);
        if first.says_the_same_as(&event) { Admission::Duplicate } else { Admission::Conflict(first) }
    }

    /// Lets the oldest events over the share go, from their lane and from the map, at most so many; says
    /// whether there may be more.
    fn evict(&self, lane: &mut Lane, partition: i32, most: usize) -> bool {
        let share = self.share_of_one();
        let mut left = 0;
        while left < most && lane.is_over(share) {
            let Some(oldest) = lane.evict_oldest() else { break };
            self.by_id.remove_sync(&oldest.id());
            left += 1;
        }
        if left == 0 {
            return false;
        }
        self.evicted.fetch_add(left as u64, Ordering::Relaxed);
        if !self.warned.swap(true, Ordering::Relaxed) {
            let Config { max_events, max_bytes } = self.bounds;
            warn!(
                "the store is full: partition {partition} holds {} events, and the oldest leave for newer ones \
                 (STORE_MAX_EVENTS={max_events}, STORE_MAX_BYTES={max_bytes})",
                lane.len()
            );
        }
        lane.is_over(share)
    }

    fn share_of_one(&self) -> Share {
        let partitions = self.partitions.load(Ordering::Relaxed);
        let of = |most: u64| (most / partitions).max(1);
        Share { events: of(self.bounds.max_events), bytes: of(self.bounds.max_bytes) }
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn admit(&self, partition: i32, events: Vec<Offered>) -> Result<Vec<Admission>, StoreError> {
        let admitted = self.order.append(partition, events.len(), |lane, Position(first)| {
            let places = (first..).map(Position);
            let admit = |(place, event)| self.admit_one(partition, place, event);
            let admitted: Vec<Admitted> = places.zip(events).map(admit).collect();
            lane.extend(admitted.iter().filter_map(|admitted| admitted.as_ref().ok()));
            self.evict(lane, partition, usize::MAX);
            admitted
        });
        self.waiters.wake(admitted.iter().filter_map(|admitted| admitted.as_ref().ok()));
        let say = |admitted: Admitted| admitted.map_or_else(|it| self.judge(*it), Admission::New);
        Ok(admitted.into_iter().map(say).collect())
    }

    async fn get(&self, id: Uuid) -> Result<Option<Arc<Stored>>, StoreError> {
        Ok(self.find(id))
    }

    async fn wait_for(&self, id: Uuid, at_most: Duration) -> Result<Option<Arc<Stored>>, StoreError> {
        // Registered before the look, so that an admission in between wakes it.
        let waiter = self.waiters.register(id);
        if let Some(stored) = self.find(id) {
            return Ok(Some(stored));
        }
        Ok(tokio::time::timeout(at_most, waiter.found()).await.unwrap_or_default())
    }

    async fn end(&self) -> Result<Position, StoreError> {
        Ok(self.order.end())
    }

    async fn read(&self, query: &Query, within: Range<Position>, limit: usize) -> Result<Page, StoreError> {
        Ok(self.order.look_at_all(|lanes| merge::page(lanes, query, within, limit)))
    }

    async fn share_among(&self, partitions: usize) -> Result<(), StoreError> {
        self.partitions.store(partitions.max(1) as u64, Ordering::Relaxed);
        for partition in self.order.partitions() {
            let evict = || self.order.change_lane(partition, |lane| self.evict(lane, partition, STEP));
            while evict().unwrap_or(false) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn oldest_millis(&self) -> Option<i64> {
        self.order.oldest_millis()
    }

    fn stats(&self) -> Option<Stats> {
        Some(MemoryStore::stats(self))
    }

    fn share(&self) -> u64 {
        self.share_of_one().events
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.order.look(partition, Lane::held_from).flatten()
    }

    async fn is_full(&self, partition: i32) -> Result<bool, StoreError> {
        let share = self.share_of_one();
        Ok(self.order.look(partition, |lane| lane.is_full(share)).unwrap_or(false))
    }

    async fn forget(&self, partition: i32) -> Result<(), StoreError> {
        let Some(lane) = self.order.remove(partition) else { return Ok(()) };
        let mut leaving = Leaving { by_id: &self.by_id, lane };
        while leaving.step() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// A lane whose events are leaving the map too: all of them, also when nobody waits for it any more.
struct Leaving<'a> {
    by_id: &'a HashMap<Uuid, Arc<Stored>>,
    lane: Lane,
}

impl Leaving<'_> {
    /// Takes some out; says whether there may be more.
    fn step(&mut self) -> bool {
        for _ in 0..STEP {
            let Some(oldest) = self.lane.pop_oldest() else { return false };
            self.by_id.remove_sync(&oldest.id());
        }
        true
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        while self.step() {}
    }
}
