//! Erasures: a user's events are deleted for good, and none of them is stored again.

use std::sync::atomic::{AtomicU64, Ordering};

/// A user's events of one partition that are to be deleted: those of the records before an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The user.
    pub user_id: String,
    /// The offset of the erasure's marker in the partition.
    pub offset: i64,
}

/// Counts of erasures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasureCounts {
    /// The number of erasures, one for each partition.
    pub erasures: u64,
    /// The number of erased events.
    pub events: u64,
}

/// Counts erasures and erased events.
#[derive(Debug, Default)]
pub(super) struct ErasureCounter {
    erasures: AtomicU64,
    events: AtomicU64,
}

impl ErasureCounter {
    /// Counts an erasure of this number of events.
    pub(super) fn add(&self, events: u64) {
        self.erasures.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> ErasureCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ErasureCounts { erasures: of(&self.erasures), events: of(&self.events) }
    }
}
