//! The bounds of the records that wait for an acknowledgement, in number and in bytes (`buffer.memory` in Java's producer).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

/// The interval at which a caller that waits for room looks for it.
const POLL: Duration = Duration::from_millis(1);

/// The bounds, and the part of them that is in use.
#[derive(Debug)]
pub(super) struct BufferBudget {
    most_records: usize,
    most_bytes: usize,
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// One record's share of the budget, which its drop gives back.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<BufferBudget>,
    bytes: usize,
}

impl BufferBudget {
    pub(super) fn new(most_records: usize, most_bytes: usize) -> Self {
        Self { most_records, most_bytes, records: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// A permit for a record of that size; `None` if it would pass a bound.
    pub(super) fn try_acquire(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let records = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // The permit exists from here on, so that its drop undoes the addition.
        let permit = Permit { budget: Arc::clone(self), bytes };
        (records <= self.most_records && total <= self.most_bytes).then_some(permit)
    }

    /// A permit for one of many records of a caller, if there is room now. Such callers leave a quarter of the bounds to
    /// others. Under bounds that are too small for that, a record is let in when it is alone.
    pub(super) fn try_acquire_politely(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let (records, held) = self.held();
        let fits = records < self.most_records - self.most_records / 4
            && held + bytes <= self.most_bytes - self.most_bytes / 4;
        (fits || records == 0).then(|| self.try_acquire(bytes)).flatten()
    }

    /// Waits for such a permit.
    pub(super) async fn acquire(self: &Arc<Self>, bytes: usize) -> Permit {
        loop {
            if let Some(permit) = self.try_acquire_politely(bytes) {
                return permit;
            }
            sleep(POLL).await;
        }
    }

    /// The part in use, in records and in bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.records.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
