//! The consumer's handler. It stores each event once, and logs it.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use highwater_kafka::{
    Batch, BatchHandler, BatchLimits, BatchOutcome, FetchPosition, LogState, Record, RetryFrom, StartFrom,
    TransientError, correlation_of,
};
use highwater_web::trace::{context_of, within};
use log::{Level, debug, info, log_enabled, warn};
use uuid::Uuid;

use super::{
    Conflicts, LoggedEvents,
    topic_record::{TopicRecord, first_offset},
};
use crate::store::{Admission, EventRecord, EventStore, Log, LogPosition, Start};

/// The log target of processed events.
const TARGET: &str = "highwater::processed";
/// The log target of erasures.
const ERASURE: &str = "highwater::erasure";

/// Events of a batch that go to the store together.
struct EventRun {
    /// The index of each event in the batch.
    indexes: Vec<usize>,
    events: Vec<EventRecord>,
}

impl EventRun {
    fn with_capacity(events: usize) -> Self {
        Self { indexes: Vec::with_capacity(events), events: Vec::with_capacity(events) }
    }

    fn push(&mut self, index: usize, event: EventRecord) {
        self.indexes.push(index);
        self.events.push(event);
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::with_capacity(0))
    }
}

/// The consumer's handler, which stores events, and erases them.
pub struct Processor {
    store: Arc<dyn EventStore>,
    conflicts: Arc<Conflicts>,
    logged_events: LoggedEvents,
}

impl Processor {
    /// A processor that writes to `store` and reports conflicts to `conflicts`.
    pub fn new(store: Arc<dyn EventStore>, conflicts: Arc<Conflicts>) -> Self {
        Self { store, conflicts, logged_events: LoggedEvents::ALL }
    }

    /// Logs these events alone.
    pub fn with_logged_events(self, logged_events: LoggedEvents) -> Self {
        Self { logged_events, ..self }
    }

    /// Applies a batch to the store: its events up to an erasure, the erasure, and so on. An event that came before an
    /// erasure of its user, and is read again, goes nowhere. Where the records are new, their outcomes are logged.
    async fn apply(&self, batch: Batch<'_, TopicRecord>, are_new: bool) -> Result<(), RetryFrom> {
        let (records, batch) = batch.take();
        let (partition, end) = (batch.partition(), log_position(batch.next_position()));
        let not_beyond_end = |next: LogPosition| if next.offset < end.offset { next } else { end };
        let mut before = None;
        let mut erased_below = self.store.erased_below(partition);
        let mut run = EventRun::with_capacity(records.len());
        let mut is_at_end = false;
        for (index, record) in records.into_iter().enumerate() {
            let source = batch.record(index);
            let failed = |error| RetryFrom::new(index, TransientError::new(error));
            is_at_end = matches!(record, TopicRecord::Erasure(_));
            match record {
                TopicRecord::Event(event) => {
                    let first = first_offset(source);
                    if first < erased_below
                        && self.store.is_erased(partition, &event.user_id(), first).await.map_err(failed)?
                    {
                        debug!(target: ERASURE, partition, offset = source.offset; "came before an erasure");
                    } else {
                        let written_at = source.timestamp.timestamp_millis();
                        run.push(index, EventRecord { offset: source.offset, written_at, event });
                    }
                }
                TopicRecord::Erasure(erasure) => {
                    if !run.indexes.is_empty() {
                        let epoch_of = before.filter(|before: &&Record| before.offset + 1 == source.offset);
                        let leader_epoch = epoch_of.and_then(|before| before.leader_epoch);
                        let next = not_beyond_end(LogPosition { offset: source.offset, leader_epoch });
                        self.admit(&batch, run.take(), next, are_new).await?;
                    }
                    let leader_epoch = source.leader_epoch;
                    let next = not_beyond_end(LogPosition { offset: source.offset + 1, leader_epoch });
                    self.store.erase(partition, &erasure, next).await.map_err(failed)?;
                    erased_below = self.store.erased_below(partition);
                    if are_new {
                        let offset = erasure.offset;
                        info!(target: ERASURE, partition, offset; "what a user had before is erased");
                    }
                }
            }
            before = Some(source);
        }
        if is_at_end { Ok(()) } else { self.admit(&batch, run, end, are_new).await }
    }

    /// Admits a run of a batch; everything below `next` is done then.
    async fn admit(
        &self,
        batch: &Batch<'_, TopicRecord>,
        run: EventRun,
        next: LogPosition,
        are_new: bool,
    ) -> Result<(), RetryFrom> {
        let EventRun { indexes, events } = run;
        let failed =
            |error| RetryFrom::new(indexes.first().copied().unwrap_or(0), TransientError::new(error));
        let admissions = self.store.admit(batch.partition(), events, next).await.map_err(failed)?;
        if are_new {
            for (index, admission) in indexes.into_iter().zip(&admissions) {
                self.log(batch.record(index), admission);
            }
        }
        Ok(())
    }

    /// Logs the outcome. An event gets its line when it is stored, and only once.
    fn log(&self, record: &Record, admission: &Admission) {
        let (partition, offset) = (record.partition, record.offset);
        match admission {
            Admission::New(event)
                if log_enabled!(target: TARGET, Level::Info) && self.logged_events.has(event.id()) =>
            {
                let (user, kind) = (event.user_id(), event.event_type());
                // A `Display` value would cost an allocation per event in the log.
                let mut buffer = Uuid::encode_buffer();
                let id = &*event.id().hyphenated().encode_lower(&mut buffer);
                within(context_of(record), || match correlation_of(record) {
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
                });
            }
            Admission::New(_) => {}
            Admission::Duplicate => {
                debug!(target: TARGET, partition, offset; "duplicate, already stored");
            }
            Admission::Conflict(first) => {
                within(context_of(record), || self.conflicts.note(partition, offset, first));
            }
        }
    }
}

fn log_position(FetchPosition { offset, leader_epoch }: FetchPosition) -> LogPosition {
    LogPosition { offset, leader_epoch }
}

#[async_trait]
impl BatchHandler<TopicRecord> for Processor {
    async fn handle(&self, batch: Batch<'_, TopicRecord>) -> BatchOutcome {
        match self.apply(batch, true).await {
            Ok(()) => BatchOutcome::default(),
            Err(retry) => BatchOutcome::retry_from(retry.index, retry.error),
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
        let start = self.store.take_up(partition, &log).await.map_err(TransientError::new)?;
        for (offset, first) in self.store.late_conflicts(partition) {
            self.conflicts.note(partition, offset, &first);
        }
        Ok(match start {
            Start::NotKept => StartFrom::Committed,
            Start::Unknown => StartFrom::Reset,
            Start::At(LogPosition { offset, leader_epoch }) => {
                StartFrom::Position(FetchPosition { offset, leader_epoch })
            }
        })
    }

    fn position_counts(&self, partition: i32) -> bool {
        self.store.is_claimed(partition)
    }

    async fn reset_to(&self, partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.store.move_to(partition, log_position(position)).await.map_err(TransientError::new)
    }

    /// Stored events stay: they were acknowledged, and copies of them are known by their ids. `reset_to` moves the position.
    async fn truncated(&self, partition: i32, _offsets: Range<i64>) {
        // Conflicts at these offsets are others from now on.
        self.conflicts.forget(partition);
    }

    async fn completed(&self, partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.store.advance(partition, log_position(position)).await.map_err(TransientError::new)
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

    async fn restore(&self, batch: Batch<'_, TopicRecord>) -> Result<(), TransientError> {
        self.store.restores_from(batch.partition(), batch.record(0).offset);
        self.apply(batch, false).await.map_err(|retry| retry.error)
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
