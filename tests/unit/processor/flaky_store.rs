//! A store that can be away.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use highwater::store::{
    Admission, Erasure, ErasureCounts, EventPage, EventQuery, EventRecord, EventStore, LogPosition,
    MemoryStore, Positions, Span, StoreError, StoredEvent,
};
use tokio::sync::watch;
use uuid::Uuid;

/// A store in memory that is away after so many batches.
pub(crate) struct Flaky {
    pub(super) memory: Arc<MemoryStore>,
    pub(super) batches_left: AtomicUsize,
    fault: Mutex<Option<Fault>>,
}

/// What happens instead of a read.
type Fault = fn() -> Result<EventPage, StoreError>;

impl Flaky {
    pub(crate) fn of(memory: Arc<MemoryStore>, batches: usize) -> Self {
        Self { memory, batches_left: AtomicUsize::new(batches), fault: Mutex::default() }
    }

    /// This happens instead of the next read.
    pub(crate) fn fail_read(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    fn take_batch(&self) -> Result<(), StoreError> {
        let left = self.batches_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(StoreError::new("away"));
        }
        self.batches_left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl EventStore for Flaky {
    async fn admit(
        &self,
        partition: i32,
        events: Vec<EventRecord>,
        next: LogPosition,
    ) -> Result<Vec<Admission>, StoreError> {
        self.take_batch()?;
        self.memory.admit(partition, events, next).await
    }

    fn admissions(&self) -> watch::Receiver<()> {
        self.memory.admissions()
    }

    async fn erase(&self, partition: i32, erasure: &Erasure, next: LogPosition) -> Result<(), StoreError> {
        self.take_batch()?;
        self.memory.erase(partition, erasure, next).await
    }

    fn erased_below(&self, partition: i32) -> i64 {
        self.memory.erased_below(partition)
    }

    async fn is_erased(&self, partition: i32, user_id: &str, offset: i64) -> Result<bool, StoreError> {
        self.memory.is_erased(partition, user_id, offset).await
    }

    fn erasures(&self) -> ErasureCounts {
        self.memory.erasures()
    }

    async fn get(&self, id: Uuid) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        self.memory.get(id).await
    }

    async fn wait_for(&self, id: Uuid, at_most: Duration) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        self.memory.wait_for(id, at_most).await
    }

    async fn end(&self) -> Result<Positions, StoreError> {
        self.memory.end().await
    }

    async fn read(&self, query: &EventQuery, within: Span, limit: usize) -> Result<EventPage, StoreError> {
        let fault = self.fault.lock().unwrap().take();
        match fault {
            Some(fault) => fault(),
            None => self.memory.read(query, within, limit).await,
        }
    }

    async fn set_partition_count(&self, partitions: usize) -> Result<(), StoreError> {
        self.memory.set_partition_count(partitions).await
    }

    fn max_events_per_partition(&self) -> u64 {
        self.memory.max_events_per_partition()
    }

    async fn is_full(&self, partition: i32) -> Result<bool, StoreError> {
        self.memory.is_full(partition).await
    }

    async fn forget(&self, partition: i32) -> Result<(), StoreError> {
        self.memory.forget(partition).await
    }
}
