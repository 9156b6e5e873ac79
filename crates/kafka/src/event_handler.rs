//! The seam between a typed consumer and those who know what an event means.

use std::{marker::PhantomData, sync::Arc};

use async_trait::async_trait;

use super::{
    BatchOutcome, Envelope, Payload, Poison, Received, Record, RecordHandler, RetryFrom, TransientError,
};

/// How many records are read and handled between two chances for others to run: about a millisecond's worth.
const AT_ONCE: usize = 1024;

/// Processes events one by one, in the order of their partition.
///
/// Calls for one partition come one after the other, unless one blocks its thread while the partition is given up
/// and comes back (see [`RecordHandler`]); calls for different partitions may run at the same time. Events may repeat:
/// processing must be idempotent.
#[async_trait]
pub trait EventHandler<P: Payload>: Send + Sync + 'static {
    /// Processes an event.
    async fn handle(&self, event: Received<'_, P>) -> Outcome;
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is processed.
    Done,
    /// It could not be processed now: it is tried again, with backoff, and nothing after it in its partition
    /// is touched before it is done.
    Retry(String),
    /// It can never be processed: it goes to the dead letters.
    Poison(String),
}

/// Processes the events of a partition in batches; for who gains by that, or keeps a projection of the log.
///
/// Every [`EventHandler`] is one.
#[async_trait]
pub trait BatchHandler<P: Payload>: Send + Sync + 'static {
    /// Processes a batch of one partition, in order. Places in the outcome are those of the batch's events.
    async fn handle(&self, batch: Batch<'_, P>) -> BatchOutcome;

    /// How many partitions the topic has; called before the first assignment and when it grows.
    async fn partition_count_changed(&self, _partitions: usize) {}

    /// How far before the committed offset [`BatchHandler::restore`] wants to look, in records; 0 for not at all.
    fn restore_window(&self) -> u64 {
        0
    }

    /// The offset of the oldest event of the partition that the projection holds, as [`RecordHandler::held_from`].
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// Takes events that were processed before, by this instance or another, into a projection. No side effects.
    async fn restore(&self, _batch: Batch<'_, P>) -> Result<(), TransientError> {
        Ok(())
    }

    /// Whether the projection of this partition would hold more, had [`BatchHandler::restore`] begun earlier.
    async fn wants_older(&self, _partition: i32) -> bool {
        false
    }

    /// The partition went to another member, or is about to be restored anew: its projection is to be forgotten.
    async fn forget(&self, _partition: i32) {}
}

/// Events of one partition, in order; at least one.
#[derive(Debug)]
pub struct Batch<'a, P> {
    /// The events.
    pub events: Vec<P>,
    records: &'a [Record],
    /// Where each event's record is among them.
    places: Vec<usize>,
}

impl<'a, P: Payload> Batch<'a, P> {
    /// The partition that they were read from.
    pub fn partition(&self) -> i32 {
        self.records.first().map_or(0, |record| record.partition)
    }

    /// The record of the event at that place.
    pub fn record(&self, event: usize) -> &'a Record {
        &self.records[self.places[event]]
    }

    /// The events, taken out, and the rest, to look their records up in.
    pub fn take(mut self) -> (Vec<P>, Self) {
        (std::mem::take(&mut self.events), self)
    }

    /// Reads records; tells of each that is no event, by its place.
    fn read(records: &'a [Record], mut malformed: impl FnMut(usize, String)) -> Self {
        let mut events = Vec::with_capacity(records.len());
        let mut places = Vec::with_capacity(records.len());
        for (place, record) in records.iter().enumerate() {
            match P::read(record) {
                Ok(event) => {
                    events.push(event);
                    places.push(place);
                }
                Err(error) => malformed(place, error.0),
            }
        }
        Self { events, records, places }
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
                Outcome::Poison(reason) => outcome.poison.push(Poison { index, reason }),
                Outcome::Retry(reason) => {
                    outcome.retry_from = Some(RetryFrom { index, error: TransientError(reason) });
                    break;
                }
            }
        }
        outcome
    }
}

/// A [`RecordHandler`] of records that reads them as events for one of events; what is none goes to the dead letters.
pub struct DecodingHandler<P, H: ?Sized> {
    handler: Arc<H>,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload, H: BatchHandler<P> + ?Sized> DecodingHandler<P, H> {
    /// Hands the events to that handler.
    pub fn new(handler: Arc<H>) -> Self {
        Self { handler, payload: PhantomData }
    }

    /// Handles some of a batch, whose first record stands at `start` in it.
    async fn handle_some(&self, start: usize, records: &[Record], outcome: &mut BatchOutcome) {
        let mut poison = Vec::new();
        let batch = Batch::<P>::read(records, |place, reason| {
            poison.push(Poison { index: start + place, reason });
        });
        if !batch.events.is_empty() {
            let places = batch.places.clone();
            let handled = self.handler.handle(batch).await;
            let place = |event: usize| start + places.get(event).copied().unwrap_or(records.len());
            poison.extend(
                handled
                    .poison
                    .into_iter()
                    .map(|Poison { index, reason }| Poison { index: place(index), reason }),
            );
            if let Some(RetryFrom { index, error }) = handled.retry_from {
                // What is malformed before the first event that is not done is settled all the same.
                let index = place(index);
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
        let mut outcome = BatchOutcome::default();
        for (number, some) in records.chunks(AT_ONCE).enumerate() {
            if number > 0 {
                tokio::task::yield_now().await;
            }
            self.handle_some(number * AT_ONCE, some, &mut outcome).await;
            if outcome.retry_from.is_some() {
                break;
            }
        }
        outcome
    }

    async fn partition_count_changed(&self, partitions: usize) {
        self.handler.partition_count_changed(partitions).await;
    }

    fn restore_window(&self) -> u64 {
        self.handler.restore_window()
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.handler.held_from(partition)
    }

    async fn restore(&self, records: &[Record]) -> Result<(), TransientError> {
        for some in records.chunks(AT_ONCE) {
            // What is malformed was set aside when it was processed.
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
