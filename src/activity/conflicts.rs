//! Events that have the id of another and say something else: a client's fault, or a forgery.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use highwater_kafka::Record;
use log::warn;

use crate::store::Stored;

/// The target of the line that each of them gets.
const TARGET: &str = "highwater::conflict";

/// Counts them, and says each once. None of them is stored: the first event of an id stays.
#[derive(Debug, Default)]
pub struct Conflicts {
    count: AtomicU64,
    /// The last that was told of each partition: what comes again after a retry is known up to there.
    told: Mutex<BTreeMap<i32, i64>>,
}

impl Conflicts {
    /// How many there were since the process began.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// A record says otherwise than the event that was stored first.
    pub(super) fn note(&self, record: &Record, first: &Stored) {
        let (partition, offset) = (record.partition, record.offset);
        {
            let mut told = self.told();
            if told.get(&partition).is_some_and(|last| offset <= *last) {
                return;
            }
            told.insert(partition, offset);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        warn!(
            target: TARGET,
            eventId:% = first.id().hyphenated(),
            partition,
            offset,
            firstPartition = first.partition,
            firstOffset = first.offset;
            "an event with the id of another and other content is not stored: the first one stays"
        );
    }

    /// The partition is to be read anew, or by another instance.
    pub(super) fn forget(&self, partition: i32) {
        self.told().remove(&partition);
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
