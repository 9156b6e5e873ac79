//! From the consumer into the store: each event once, with a line in the log.

use std::sync::Arc;

use async_trait::async_trait;
use highwater_kafka::{Batch, BatchHandler, BatchOutcome, Record, RetryFrom, TransientError, correlation_of};
use log::{debug, info, warn};
use uuid::Uuid;

use super::Conflicts;
use crate::store::{Admission, Event, EventStore, Offered, StoreError};

/// The target of the line that each processed event gets.
const TARGET: &str = "highwater::processed";

/// Stores events.
pub struct Processor {
    store: Arc<dyn EventStore>,
    conflicts: Arc<Conflicts>,
}

impl Processor {
    /// A processor into that store, that notes what says otherwise than an event of the same id before.
    pub fn new(store: Arc<dyn EventStore>, conflicts: Arc<Conflicts>) -> Self {
        Self { store, conflicts }
    }

    /// Offers events to the store; what became of them, and the batch without them.
    async fn admit<'a>(
        &self,
        batch: Batch<'a, Event>,
    ) -> Result<(Vec<Admission>, Batch<'a, Event>), StoreError> {
        let (events, batch) = batch.take();
        let offer = |(place, event)| Offered { offset: batch.record(place).offset, event };
        let offered = events.into_iter().enumerate().map(offer).collect();
        Ok((self.store.admit(batch.partition(), offered).await?, batch))
    }

    /// An event gets its line once it is stored, and only once; a copy of it is nothing new.
    fn tell(&self, record: &Record, admission: &Admission) {
        let (partition, offset) = (record.partition, record.offset);
        match admission {
            Admission::New(event) => {
                let (user, kind) = (event.user_id(), event.event_type());
                // As text: a value to be displayed takes a way of its own through the log, at each event.
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
impl BatchHandler<Event> for Processor {
    async fn handle(&self, batch: Batch<'_, Event>) -> BatchOutcome {
        match self.admit(batch).await {
            Ok((admissions, batch)) => {
                for (place, admission) in admissions.iter().enumerate() {
                    self.tell(batch.record(place), admission);
                }
                BatchOutcome::default()
            }
            Err(unavailable) => {
                let error = TransientError(unavailable.to_string());
                BatchOutcome { retry_from: Some(RetryFrom { index: 0, error }), ..BatchOutcome::default() }
            }
        }
    }

    async fn partition_count_changed(&self, partitions: usize) {
        if let Err(error) = self.store.share_among(partitions).await {
            warn!("the store's bound is not shared among {partitions} partitions: {error}");
        }
    }

    fn restore_window(&self) -> u64 {
        self.store.share()
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.store.held_from(partition)
    }

    async fn restore(&self, batch: Batch<'_, Event>) -> Result<(), TransientError> {
        let admitted = self.admit(batch).await;
        admitted.map(drop).map_err(|unavailable| TransientError(unavailable.to_string()))
    }

    async fn wants_older(&self, partition: i32) -> bool {
        self.store.is_full(partition).await.is_ok_and(|full| !full)
    }

    async fn forget(&self, partition: i32) {
        self.conflicts.forget(partition);
        if let Err(error) = self.store.forget(partition).await {
            warn!("the events of partition {partition} are not forgotten: {error}");
        }
    }
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processor").finish_non_exhaustive()
    }
}
