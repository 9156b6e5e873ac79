//! The handler of records: the seam between the consumer and the code that knows their meaning.

use std::{error::Error, sync::Arc};

use async_trait::async_trait;

use super::Record;

/// Processes the records of a consumer's partitions, as bytes. [`crate::DecodingHandler`] makes one of a handler of
/// events.
///
/// Calls for one partition come one after the other, in the order of its log; calls for different partitions may
/// run at the same time. When a partition has to be revoked during a call, the call is dropped at an await. A call
/// that blocks its thread cannot be dropped: it runs on, and if the partition comes back, the next call may overlap it.
#[async_trait]
pub trait RecordHandler: Send + Sync + 'static {
    /// Processes a batch of one partition, in order. Its size follows from how long the batches before took.
    /// Records may repeat: processing must be idempotent.
    async fn handle(&self, records: &[Record]) -> BatchOutcome;

    /// Takes the topic's number of partitions; called before the first assignment and when it grows.
    async fn partition_count_changed(&self, _partitions: usize) {}

    /// How many records before the committed offset go to [`RecordHandler::restore`] when
    /// [`RecordHandler::held_from`] was not committed with it; 0 for none.
    fn restore_window(&self) -> u64 {
        0
    }

    /// The offset of the oldest record of the partition in the projection; `None` without a record or a projection.
    /// It is committed beside the partition's offset, and the next restore begins there.
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// Adds records to the projection that were processed before, by this instance or another. It has no side
    /// effects, and skips malformed records: they were dead-lettered when they were processed.
    ///
    /// # Errors
    ///
    /// The same records are tried again, with backoff.
    async fn restore(&self, _records: &[Record]) -> Result<(), TransientError> {
        Ok(())
    }

    /// Whether a [`RecordHandler::restore`] that begins earlier would add more to the partition's projection.
    async fn wants_older(&self, _partition: i32) -> bool {
        false
    }

    /// Drops the partition's projection: another member has the partition, or it is about to be restored anew.
    async fn forget(&self, _partition: i32) {}
}

/// The outcome of a batch. Every record that it does not name is done.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BatchOutcome {
    /// Records that can never be processed: they go to the dead letter topic.
    pub poison: Vec<Poison>,
    /// Where a transient error stopped the batch: that record and all after it are tried again.
    pub retry_from: Option<RetryFrom>,
}

impl BatchOutcome {
    /// The outcome of a batch without poison that an error stopped at the record of that index.
    pub fn retry_from(index: usize, error: TransientError) -> Self {
        Self { poison: Vec::new(), retry_from: Some(RetryFrom::new(index, error)) }
    }
}

/// A record that can never be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Poison {
    /// Its index in the batch.
    pub index: usize,
    /// The reason, for the log and the dead letter's header.
    pub reason: String,
}

impl Poison {
    /// The record of that index in the batch, and the reason.
    pub fn new(index: usize, reason: impl Into<String>) -> Self {
        Self { index, reason: reason.into() }
    }
}

/// Where a transient error stopped a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RetryFrom {
    /// The index in the batch of the first record that is not done.
    pub index: usize,
    /// The reason.
    pub error: TransientError,
}

impl RetryFrom {
    /// The index in the batch of the first record that is not done, and the reason.
    pub fn new(index: usize, error: TransientError) -> Self {
        Self { index, error }
    }
}

/// An error that may pass, such as a store that is away. The records are retried with backoff, and none is skipped.
///
/// It displays as the error that it was made of, and has its source.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct TransientError(Arc<dyn Error + Send + Sync>);

impl TransientError {
    /// Makes one of an error, or of a message.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}
