//! The order of processing: one log per partition, each behind its own lock, so that one partition's batch does not
//! wait for another's.
//!
//! Lock order: the map of logs first, then logs by partition. A thread that holds a lock takes none that comes before
//! it. Adding or removing a log takes the map's write lock, which excludes all users of all logs.
//!
//! A sequence number is assigned while the log that it is for is locked, so within a log the numbers rise.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::store_log::StoreLog;
use crate::store::{Positions, SequenceNumber};

/// The logs, and the sequence number of the next event.
#[derive(Debug, Default)]
pub(super) struct StoreLogs {
    next: AtomicU64,
    logs: RwLock<Logs>,
}

type Logs = BTreeMap<i32, RwLock<StoreLog>>;

impl StoreLogs {
    /// The position of each log's next event. The logs are asked one after the other.
    pub(super) fn end(&self) -> Positions {
        Positions(self.logs().iter().map(|(partition, log)| (*partition, read(log).end())).collect())
    }

    /// Calls `append` with the partition's log, which is created if it is missing, and with the first of `count` sequence
    /// numbers.
    pub(super) fn append<T>(
        &self,
        partition: i32,
        count: usize,
        append: impl FnOnce(&mut StoreLog, SequenceNumber) -> T,
    ) -> T {
        loop {
            // Held during the call: a log that is removed meanwhile would take events with it that the store
            // reports as stored.
            let logs = self.logs();
            if let Some(log) = logs.get(&partition) {
                let mut log = write(log);
                let first = self.next.fetch_add(count as u64, Ordering::AcqRel);
                return append(&mut log, SequenceNumber(first));
            }
            drop(logs);
            self.logs_mut().entry(partition).or_default();
        }
    }

    /// Calls `change` with the partition's log, if there is one.
    pub(super) fn change<T>(&self, partition: i32, change: impl FnOnce(&mut StoreLog) -> T) -> Option<T> {
        let logs = self.logs();
        Some(change(&mut write(logs.get(&partition)?)))
    }

    /// Calls `look` with the partition's log, if there is one.
    pub(super) fn look<T>(&self, partition: i32, look: impl FnOnce(&StoreLog) -> T) -> Option<T> {
        Some(look(&read(self.logs().get(&partition)?)))
    }

    /// Calls `look` with all logs, as they are at one time.
    pub(super) fn look_at_all<T>(
        &self,
        look: impl FnOnce(&[(i32, RwLockReadGuard<'_, StoreLog>)]) -> T,
    ) -> T {
        let logs = self.logs();
        let all: Vec<_> = logs.iter().map(|(partition, log)| (*partition, read(log))).collect();
        look(&all)
    }

    /// The number of events. The logs are counted one after the other.
    pub(super) fn events(&self) -> usize {
        self.logs().values().map(|log| read(log).events()).sum()
    }

    /// The earliest timestamp among the first events of the logs.
    pub(super) fn oldest_millis(&self) -> Option<i64> {
        self.logs().values().filter_map(|log| read(log).oldest_millis()).min()
    }

    /// The partitions that have a log.
    pub(super) fn partitions(&self) -> Vec<i32> {
        self.logs().keys().copied().collect()
    }

    /// Removes the partition's log.
    pub(super) fn remove(&self, partition: i32) -> Option<StoreLog> {
        let log = self.logs_mut().remove(&partition)?;
        Some(log.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn logs(&self) -> RwLockReadGuard<'_, Logs> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs_mut(&self) -> RwLockWriteGuard<'_, Logs> {
        self.logs.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(log: &RwLock<StoreLog>) -> RwLockWriteGuard<'_, StoreLog> {
    log.write().unwrap_or_else(PoisonError::into_inner)
}

fn read(log: &RwLock<StoreLog>) -> RwLockReadGuard<'_, StoreLog> {
    log.read().unwrap_or_else(PoisonError::into_inner)
}
