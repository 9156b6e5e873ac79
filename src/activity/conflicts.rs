//! Conflicts: events that have the id of another event and other content, by a client's fault or as a forgery.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use log::warn;

use crate::store::StoredEvent;

/// The log target of conflicts.
const TARGET: &str = "highwater::conflict";

/// Counts conflicts, and logs each one once. The store keeps the first event of an id and drops the others.
#[derive(Debug, Default)]
pub struct Conflicts {
    count: AtomicU64,
    /// The offset of the last conflict that was logged, by partition. After a retry, records up to it come again.
    logged: Mutex<BTreeMap<i32, i64>>,
}

impl Conflicts {
    /// The number of conflicts since the process started.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts and logs the record at this offset, which conflicts with the event that was stored first.
    pub(super) fn note(&self, partition: i32, offset: i64, first: &StoredEvent) {
        {
            let mut logged = self.logged();
            if logged.get(&partition).is_some_and(|last| offset <= *last) {
                return;
            }
            logged.insert(partition, offset);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let id = first.id().hyphenated();
        // The id is in the text, too, so that no line is taken for another one.
        warn!(
            target: TARGET,
            eventId:% = id,
            partition,
            offset,
            firstPartition = first.partition,
            firstOffset = first.position;
            "an event with the id {id} and other content is not stored: the first one stays"
        );
    }

    /// Forgets the partition, which is to be read anew or by another instance.
    pub(super) fn forget(&self, partition: i32) {
        self.logged().remove(&partition);
    }

    fn logged(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
