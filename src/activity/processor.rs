//! The consumer's handler. It stores each event once, and logs it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use highwater_kafka::{
    Batch, BatchHandler, BatchLimits, BatchOutcome, LogState, Record, StartFrom, TransientError,
    correlation_of,
};
use log::{debug, info, warn};
use uuid::Uuid;

use super::Conflicts;
use crate::store::{ActivityEvent, Admission, EventRecord, EventStore, Log, Start, StoreError};

/// The log target of processed events.
const TARGET: &str = "highwater::processed";

/// The consumer's handler, which stores events.
pub struct Processor {
    store: Arc<dyn EventStore>,
    conflicts: Arc<Conflicts>,
}

impl Processor {
    /// A processor that writes to `store` and reports conflicts to `conflicts`.
    pub fn new(store: Arc<dyn EventStore>, conflicts: Arc<Conflicts>) -> Self {
        Self { store, conflicts }
    }

    /// Admits a batch to the store. Returns the outcomes and the batch without its events.
    async fn admit<'a>(
        &self,
        batch: Batch<'a, ActivityEvent>,
    ) -> Result<(Vec<Admission>, Batch<'a, ActivityEvent>), StoreError> {
        let (events, batch) = batch.take();
        let record = |(index, event)| EventRecord { offset: batch.record(index).offset, event };
        let records = events.into_iter().enumerate().map(record).collect();
        Ok((self.store.admit(batch.partition(), records, batch.next_offset()).await?, batch))
    }

    /// Logs the outcome. An event gets its line when it is stored, and only once.
    fn log(&self, record: &Record, admission: &Admission) {
        let (partition, offset) = (record.partition, record.offset);
        match admission {
            Admission::New(event) => {
                let (user, kind) = (event.user_id(), event.event_type());
                // A `Display` value would cost an allocation per event in the log.
                let mut buffer = Uuid::encode_buffer();
                let id = &*event.id().hyphenated().encode_lower(&mut buffer);
                match correlation_of(record) {
                    None => info!(
                        target: TARGET,
                        eventId = id, userId = user.as_ref(), eventType = kind.as_ref(), partition, offset;
                        "processed"
                    ),
                    Some(correlation) => info!(
                        target: TARGET,
                        eventId = id, userId = user.as_ref(), eventType = kind.as_ref(), partition, offset,
                        correlationId = correlation;
                        "processed"
                    ),
                }
            }
            Admission::Duplicate => {
                debug!(target: TARGET, partition, offset; "duplicate, already stored");
            }
            Admission::Conflict(first) => self.conflicts.note(record, first),
        }
    }
}

#[async_trait]
impl BatchHandler<ActivityEvent> for Processor {
    async fn handle(&self, batch: Batch<'_, ActivityEvent>) -> BatchOutcome {
        match self.admit(batch).await {
            Ok((admissions, batch)) => {
                for (index, admission) in admissions.iter().enumerate() {
                    self.log(batch.record(index), admission);
                }
                BatchOutcome::default()
            }
            Err(unavailable) => BatchOutcome::retry_from(0, TransientError::new(unavailable)),
        }
    }

    fn batch_limits(&self) -> BatchLimits {
        // A database gains by large batches, which a transaction each is.
        if self.store.is_shared() {
            BatchLimits { records: 8 * 1024, duration: Duration::from_millis(500) }
        } else {
            BatchLimits::default()
        }
    }

    async fn start_from(&self, partition: i32, log: &LogState) -> Result<StartFrom, TransientError> {
        let log = Log { topic_id: log.topic_id, offsets: log.offsets.clone() };
        Ok(match self.store.take_up(partition, &log).await.map_err(TransientError::new)? {
            Start::NotKept => StartFrom::Committed,
            Start::Unknown => StartFrom::Reset,
            Start::At(offset) => StartFrom::Offset(offset),
        })
    }

    fn position_counts(&self, partition: i32) -> bool {
        self.store.is_claimed(partition)
    }

    async fn reset_to(&self, partition: i32, offset: i64) -> Result<(), TransientError> {
        self.store.move_to(partition, offset).await.map_err(TransientError::new)
    }

    async fn completed(&self, partition: i32, offset: i64) -> Result<(), TransientError> {
        self.store.advance(partition, offset).await.map_err(TransientError::new)
    }

    async fn partition_count_changed(&self, partitions: usize) {
        if let Err(error) = self.store.set_partition_count(partitions).await {
            warn!("the store's bound is not divided among {partitions} partitions: {error}");
        }
    }

    fn restore_window(&self) -> u64 {
        self.store.max_events_per_partition()
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.store.held_from(partition)
    }

    async fn restore(&self, batch: Batch<'_, ActivityEvent>) -> Result<(), TransientError> {
        let admitted = self.admit(batch).await;
        admitted.map(drop).map_err(TransientError::new)
    }

    async fn wants_older(&self, partition: i32) -> bool {
        self.store.is_full(partition).await.is_ok_and(|full| !full)
    }

    async fn forget(&self, partition: i32) {
        self.conflicts.forget(partition);
        if let Err(error) = self.store.forget(partition).await {
            warn!("the events of partition {partition} are not dropped: {error}");
        }
    }
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processor").finish_non_exhaustive()
    }
}
