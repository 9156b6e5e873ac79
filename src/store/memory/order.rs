//! The order of processing: a lane a partition, each behind a lock of its own, so that one partition's batch does not
//! wait for another's.
//!
//! Locks are taken in one order: that of the set of lanes, then lanes by partition; who holds one asks for none before
//! it. To add a lane or to take one out waits for all who use any, and they for that.
//!
//! A place is taken while the lane is locked that it is for. So whoever has asked for the end, and reads a lane
//! afterwards, finds in it all events before that end: those whose place is taken and that are not in the lane yet
//! are being put there under the lock that the reader waits for.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::lane::Lane;
use crate::store::Position;

/// The lanes, and the place that the next event gets.
#[derive(Debug, Default)]
pub(super) struct Order {
    next: AtomicU64,
    lanes: RwLock<Lanes>,
}

type Lanes = BTreeMap<i32, RwLock<Lane>>;

impl Order {
    /// The place after the last that was taken.
    pub(super) fn end(&self) -> Position {
        Position(self.next.load(Ordering::Acquire))
    }

    /// Hands out the partition's lane, and the first of so many places that are taken for it.
    pub(super) fn append<T>(
        &self,
        partition: i32,
        places: usize,
        append: impl FnOnce(&mut Lane, Position) -> T,
    ) -> T {
        loop {
            // Kept while the lane is in use: a lane that is removed meanwhile would take events with it that the
            // store says it has.
            let lanes = self.lanes();
            if let Some(lane) = lanes.get(&partition) {
                let mut lane = write(lane);
                let first = self.next.fetch_add(places as u64, Ordering::AcqRel);
                return append(&mut lane, Position(first));
            }
            drop(lanes);
            self.change_lanes(|lanes| {
                lanes.entry(partition).or_default();
            });
        }
    }

    /// Hands out the partition's lane, where there is one.
    pub(super) fn change_lane<T>(&self, partition: i32, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lanes = self.lanes();
        Some(change(&mut write(lanes.get(&partition)?)))
    }

    /// Hands out the partition's lane to look at, where there is one.
    pub(super) fn look<T>(&self, partition: i32, look: impl FnOnce(&Lane) -> T) -> Option<T> {
        Some(look(&read(self.lanes().get(&partition)?)))
    }

    /// Hands out all lanes to look at, as they are at one moment.
    pub(super) fn look_at_all<T>(&self, look: impl FnOnce(&[RwLockReadGuard<'_, Lane>]) -> T) -> T {
        let lanes = self.lanes();
        let all: Vec<_> = lanes.values().map(read).collect();
        look(&all)
    }

    /// How many events there are, lane by lane: not all of one moment.
    pub(super) fn len(&self) -> usize {
        self.lanes().values().map(|lane| read(lane).len()).sum()
    }

    /// The oldest event there is, by its own time among those that have been here for longest in their lane.
    pub(super) fn oldest_millis(&self) -> Option<i64> {
        self.lanes().values().filter_map(|lane| read(lane).oldest_millis()).min()
    }

    /// The partitions that have a lane.
    pub(super) fn partitions(&self) -> Vec<i32> {
        self.lanes().keys().copied().collect()
    }

    /// Takes the partition's lane out.
    pub(super) fn remove(&self, partition: i32) -> Option<Lane> {
        let lane = self.change_lanes(|lanes| lanes.remove(&partition))?;
        Some(lane.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn lanes(&self) -> RwLockReadGuard<'_, Lanes> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_lanes<T>(&self, change: impl FnOnce(&mut Lanes) -> T) -> T {
        change(&mut self.lanes.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn write(lane: &RwLock<Lane>) -> RwLockWriteGuard<'_, Lane> {
    lane.write().unwrap_or_else(PoisonError::into_inner)
}

fn read(lane: &RwLock<Lane>) -> RwLockReadGuard<'_, Lane> {
    lane.read().unwrap_or_else(PoisonError::into_inner)
}
