//! The handler of records: the seam between the consumer and the code that knows their meaning.

use std::{error::Error, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::{FetchPosition, Record, dead_letter::Place, group::Lease};

/// Processes the records of a consumer's partitions, as bytes. [`crate::DecodingHandler`] makes one of a handler of
/// events.
///
/// Calls for one partition come one after the other, in the order of its log; calls for different partitions may
/// run at the same time. When a partition has to be revoked during a call, the call is dropped at an await. A call
/// that blocks its thread cannot be dropped: it runs on, and if the partition comes back, the next call may overlap it.
#[async_trait]
pub trait RecordHandler: Send + Sync + 'static {
    /// Processes a batch of one partition, in order. The durations of the batches before it decide its size. Records may
    /// repeat: processing must be idempotent.
    async fn handle(&self, records: &[Record]) -> BatchOutcome;

    /// Takes the topic's number of partitions; called before the first assignment and when it grows.
    async fn partition_count_changed(&self, _partitions: usize) {}

    /// The bounds of one call of [`RecordHandler::handle`].
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    /// The start of a partition's processing. The consumer asks each time that it takes the partition up. A handler that
    /// stores its position together with its results returns that position; the group's committed offset follows it. Such a
    /// handler is asked again after each of its transient errors, since a write may succeed although its answer is lost.
    async fn start_from(&self, _partition: i32, _log: &LogState) -> Result<StartFrom, TransientError> {
        Ok(StartFrom::Committed)
    }

    /// Loads the handler's state of a partition, after [`RecordHandler::start_from`]. It may take long, and is dropped when
    /// the partition has to be revoked. Returns whether the projection still counts: if not, it is dropped, and the consumer
    /// calls this again.
    ///
    /// # Errors
    ///
    /// It is tried again, with backoff.
    async fn load(&self, _partition: i32) -> Result<bool, TransientError> {
        Ok(true)
    }

    /// Whether the position from [`RecordHandler::start_from`] still counts. The consumer asks between two reads. If it does
    /// not count, the consumer asks for the start again: so it notices a position that somebody else has moved.
    fn position_counts(&self, _partition: i32) -> bool {
        true
    }

    /// Processing goes on at this position, which may be lower than before: the handler has no position, or the log no
    /// longer has it.
    async fn reset_to(&self, _partition: i32, _position: FetchPosition) -> Result<(), TransientError> {
        Ok(())
    }

    /// The log lost the records at these offsets, which were processed: a replica that lacked them was elected (an
    /// unclean election, found out by KIP-320). Other records have their offsets now, or will. [`RecordHandler::reset_to`]
    /// follows for a handler that stores its position, and processing goes on at the range's start.
    async fn truncated(&self, _partition: i32, _offsets: Range<i64>) {}

    /// Everything below this position is done, dead letters included. It is called after each batch that had dead letters,
    /// and for a handler that stores its position also where the offset is beyond the last record, as after a transaction's
    /// marker. A handler that stores its position must not store one above a record whose dead letter is not acknowledged.
    async fn completed(&self, _partition: i32, _position: FetchPosition) -> Result<(), TransientError> {
        Ok(())
    }

    /// Whether the handler wants a turn: [`RecordHandler::take_turn`]. The consumer asks between two reads, and between two
    /// attempts after a transient error.
    fn wants_turn(&self, _partition: i32) -> bool {
        false
    }

    /// Does the work that is due beside the records of the log. Everything below the offset `committed` is done and
    /// committed. After a transient error, records from there on were read. It processes and writes nothing once the lease
    /// is over: another member may have the partition then.
    async fn take_turn(&self, _partition: i32, _committed: i64, _lease: &Lease) {}

    /// The number of records before the committed offset that go to [`RecordHandler::restore`] when
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

/// The bounds of a batch while there is a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most records.
    pub records: usize,
    /// The longest duration that a call should have. Between two calls the consumer checks its lease and whether it is to
    /// stop, and the done records can be committed.
    pub duration: Duration,
}

/// 1,024 records, about a millisecond's worth for a handler that only stores them in memory, and 50 ms.
impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1024, duration: Duration::from_millis(50) }
    }
}

/// A partition's log, as its leader has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The topic's id (KIP-516), if the broker knows it. A topic that is deleted and recreated has another.
    pub topic_id: Option<Uuid>,
    /// The offsets that the log has.
    pub offsets: Range<i64>,
}

/// The start of a partition's processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartFrom {
    /// At the group's committed offset: the handler stores no positions.
    Committed,
    /// At this position, whatever the group has committed. With its leader epoch it is checked against the log first.
    Position(FetchPosition),
    /// The start by `offset_reset`: the handler stores positions, and has none for this partition.
    Reset,
}

/// The outcome of a batch. Every record that it does not name is done.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BatchOutcome {
    /// Records that can never be processed: they go to the dead letter topic.
    pub poison: Vec<Poison>,
    /// The record at which a transient error stopped the batch: that record and all after it are tried again.
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
    /// Its place in a sequence, if it is in one.
    pub(crate) place: Option<Place>,
}

impl Poison {
    /// The record of that index in the batch, and the reason.
    pub fn new(index: usize, reason: impl Into<String>) -> Self {
        Self { index, reason: reason.into(), place: None }
    }
}

/// The record at which a transient error stopped a batch.
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
