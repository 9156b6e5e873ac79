//! How much may wait at one time, in records and in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bounds, and how much of them is taken.
#[derive(Debug)]
pub(super) struct Queue {
    most_records: usize,
    most_bytes: usize,
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// Room for one record, given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(most_records: usize, most_bytes: usize) -> Self {
        Self { most_records, most_bytes, records: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Takes room for a record of that size; `None` when a bound would be passed.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let records = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // The room exists from here on, so that giving up gives it back.
        let room = Room { queue: Arc::clone(self), bytes };
        (records <= self.most_records && total <= self.most_bytes).then_some(room)
    }

    /// How much waits now, in records and in bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queue.records.fetch_sub(1, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
