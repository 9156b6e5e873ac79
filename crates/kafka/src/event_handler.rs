//! Handlers of events: one by one, or in batches.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    BatchLimits, BatchOutcome, Envelope, FetchPosition, LogState, Payload, Poison, Received, Record,
    RecordHandler, RetryFrom, StartFrom, TransientError, interceptor::BatchInterceptor,
};

/// Processes events one by one, in the order of their partition.
///
/// Calls come as those of a [`RecordHandler`]. Events may repeat: processing must be idempotent.
#[async_trait]
pub trait EventHandler<P: Payload>: Send + Sync + 'static {
    /// Processes an event.
    async fn handle(&self, event: Received<'_, P>) -> Outcome;
}

/// The outcome of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is processed.
    Done,
    /// It cannot be processed now. It is tried again, with backoff, before any later event of its partition,
    /// letters that wait excepted.
    Retry(String),
    /// It can never be processed: it goes to the dead letter topic. With
    /// [`ConsumerBuilder::with_poison_in_order`](crate::ConsumerBuilder::with_poison_in_order) the later events of its key wait.
    Poison(String),
}

/// Processes the events of a partition in batches: for a handler that gains by that, or keeps a projection of the log. Every
/// [`EventHandler`] is one.
///
/// Its methods are those of [`RecordHandler`], over events.
#[async_trait]
pub trait BatchHandler<P: Payload>: Send + Sync + 'static {
    /// Processes a batch of one partition, in order. The outcome's indexes are those of the batch's events.
    async fn handle(&self, batch: Batch<'_, P>) -> BatchOutcome;

    /// As [`RecordHandler::partition_count_changed`].
    async fn partition_count_changed(&self, _partitions: usize) {}

    /// As [`RecordHandler::batch_limits`].
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    /// As [`RecordHandler::start_from`].
    async fn start_from(&self, _partition: i32, _log: &LogState) -> Result<StartFrom, TransientError> {
        Ok(StartFrom::Committed)
    }

    /// As [`RecordHandler::position_counts`].
    fn position_counts(&self, _partition: i32) -> bool {
        true
    }

    /// As [`RecordHandler::reset_to`].
    async fn reset_to(&self, _partition: i32, _position: FetchPosition) -> Result<(), TransientError> {
        Ok(())
    }

    /// As [`RecordHandler::truncated`].
    async fn truncated(&self, _partition: i32, _offsets: Range<i64>) {}

    /// As [`RecordHandler::completed`].
    async fn completed(&self, _partition: i32, _position: FetchPosition) -> Result<(), TransientError> {
        Ok(())
    }

    /// As [`RecordHandler::restore_window`].
    fn restore_window(&self) -> u64 {
        0
    }

    /// As [`RecordHandler::held_from`].
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// As [`RecordHandler::restore`].
    async fn restore(&self, _batch: Batch<'_, P>) -> Result<(), TransientError> {
        Ok(())
    }

    /// As [`RecordHandler::wants_older`].
    async fn wants_older(&self, _partition: i32) -> bool {
        false
    }

    /// As [`RecordHandler::forget`].
    async fn forget(&self, _partition: i32) {}
}

/// One or more events of one partition, in order.
#[derive(Debug)]
pub struct Batch<'a, P> {
    /// The events.
    pub events: Vec<P>,
    records: &'a [Record],
    /// The index of each event's record.
    indexes: Vec<usize>,
    /// The offset of an earlier record whose dead letter is still to be written.
    undone: Option<i64>,
}

impl<'a, P: Payload> Batch<'a, P> {
    /// The partition of the events.
    pub fn partition(&self) -> i32 {
        self.records.first().map_or(0, |record| record.partition)
    }

    /// The record of the event at that index.
    ///
    /// # Panics
    ///
    /// The batch has no such event.
    pub fn record(&self, event: usize) -> &'a Record {
        &self.records[self.indexes[event]]
    }

    /// The position below which everything is done once these events are: the one after the last record, or the one of the
    /// first record that goes to the dead letters. Records above it may come again although they are done.
    pub fn next_position(&self) -> FetchPosition {
        if let Some(undone) = self.undone {
            return undone.into();
        }
        let malformed = (0..self.records.len()).find(|index| self.indexes.get(*index) != Some(index));
        let done = &self.records[..malformed.unwrap_or(self.records.len())];
        let after_done = done.last().map_or(0, |last| last.offset + 1);
        let offset = malformed.map_or(after_done, |index| self.records[index].offset);
        // Records that are in no batch, such as a transaction's marker, are not known here.
        let before = done.last().filter(|last| last.offset + 1 == offset);
        FetchPosition { offset, leader_epoch: before.and_then(|before| before.leader_epoch) }
    }

    /// The events, and the batch without them, for [`Batch::record`].
    pub fn take(mut self) -> (Vec<P>, Self) {
        (std::mem::take(&mut self.events), self)
    }

    /// Decodes records; calls `malformed` with the index and the reason of each that is no event.
    fn read(records: &'a [Record], mut malformed: impl FnMut(usize, String)) -> Self {
        let mut events = Vec::with_capacity(records.len());
        let mut indexes = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            match P::read(record) {
                Ok(event) => {
                    events.push(event);
                    indexes.push(index);
                }
                Err(error) => malformed(index, error.0),
            }
        }
        Self { events, records, indexes, undone: None }
    }
}

#[async_trait]
impl<P: Payload, H: EventHandler<P>> BatchHandler<P> for H {
    async fn handle(&self, batch: Batch<'_, P>) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        let (events, batch) = batch.take();
        for (index, event) in events.into_iter().enumerate() {
            let record = batch.record(index);
            let received = Received { event, envelope: Envelope::read(record), record };
            match EventHandler::handle(self, received).await {
                Outcome::Done => {}
                Outcome::Poison(reason) => outcome.poison.push(Poison::new(index, reason)),
                Outcome::Retry(reason) => {
                    outcome.retry_from = Some(RetryFrom { index, error: TransientError::new(reason) });
                    break;
                }
            }
        }
        outcome
    }
}

/// A [`RecordHandler`] that decodes records for a [`BatchHandler`]. A record that is no event goes to the dead letter
/// topic.
pub struct DecodingHandler<P, H: ?Sized> {
    handler: Arc<H>,
    payload: PhantomData<fn() -> P>,
    intercepted: Option<BatchInterceptor>,
}

impl<P: Payload, H: BatchHandler<P> + ?Sized> DecodingHandler<P, H> {
    /// Passes the events to `handler`.
    pub fn new(handler: Arc<H>) -> Self {
        Self { handler, payload: PhantomData, intercepted: None }
    }

    pub(super) fn intercepted_by(self, intercepted: Option<BatchInterceptor>) -> Self {
        Self { intercepted, ..self }
    }

    /// Handles a part of a batch.
    async fn handle_some(&self, records: &[Record], chunk: Range<usize>, outcome: &mut BatchOutcome) {
        let (start, end) = (chunk.start, chunk.end);
        let mut poison = Vec::new();
        let mut batch = Batch::<P>::read(&records[chunk], |index, reason| {
            poison.push(Poison::new(start + index, reason));
        });
        batch.undone = outcome.poison.first().map(|poison| records[poison.index].offset);
        if !batch.events.is_empty() {
            let indexes = batch.indexes.clone();
            let handled = self.handler.handle(batch).await;
            let index_of = |event: usize| indexes.get(event).map_or(end, |index| start + index);
            poison.extend(
                handled.poison.into_iter().map(|poison| Poison { index: index_of(poison.index), ..poison }),
            );
            if let Some(RetryFrom { index, error }) = handled.retry_from {
                // A malformed record before the first event that is not done counts all the same.
                let index = index_of(index);
                poison.retain(|poison| poison.index < index);
                outcome.retry_from = Some(RetryFrom { index, error });
            }
        }
        outcome.poison.append(&mut poison);
    }
}

#[async_trait]
impl<P: Payload, H: BatchHandler<P> + ?Sized> RecordHandler for DecodingHandler<P, H> {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        let intercepted = self.intercepted.as_ref().map(|intercepted| (intercepted, Instant::now()));
        let mut outcome = BatchOutcome::default();
        // A batch has at most as many records as a consumer hands over at a time.
        let at_once = self.batch_limits().records.max(1);
        for start in (0..records.len()).step_by(at_once) {
            if start > 0 {
                tokio::task::yield_now().await;
            }
            let chunk = start..records.len().min(start + at_once);
            self.handle_some(records, chunk, &mut outcome).await;
            if outcome.retry_from.is_some() {
                break;
            }
        }
        if let Some((intercepted, began)) = intercepted {
            intercepted.processed(records, &outcome, began.elapsed());
        }
        outcome
    }

    async fn partition_count_changed(&self, partitions: usize) {
        self.handler.partition_count_changed(partitions).await;
    }

    fn batch_limits(&self) -> BatchLimits {
        self.handler.batch_limits()
    }

    async fn start_from(&self, partition: i32, log: &LogState) -> Result<StartFrom, TransientError> {
        self.handler.start_from(partition, log).await
    }

    fn position_counts(&self, partition: i32) -> bool {
        self.handler.position_counts(partition)
    }

    async fn reset_to(&self, partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.handler.reset_to(partition, position).await
    }

    async fn truncated(&self, partition: i32, offsets: Range<i64>) {
        self.handler.truncated(partition, offsets).await;
    }

    async fn completed(&self, partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.handler.completed(partition, position).await
    }

    fn restore_window(&self) -> u64 {
        self.handler.restore_window()
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.handler.held_from(partition)
    }

    async fn restore(&self, records: &[Record]) -> Result<(), TransientError> {
        for some in records.chunks(self.batch_limits().records.max(1)) {
            // Malformed records were dead-lettered when they were processed.
            let batch = Batch::read(some, |_, _| {});
            if !batch.events.is_empty() {
                self.handler.restore(batch).await?;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn wants_older(&self, partition: i32) -> bool {
        self.handler.wants_older(partition).await
    }

    async fn forget(&self, partition: i32) {
        self.handler.forget(partition).await;
    }
}

impl<P, H: ?Sized> std::fmt::Debug for DecodingHandler<P, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodingHandler").finish_non_exhaustive()
    }
}
