//! The seam between the consumer and those who know what a record means.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::Record;

/// Processes the records of a consumer's partitions.
///
/// Calls for one partition come in the order of its log, one after the other; calls for different partitions may
/// run at the same time. A call that lasts while its partition has to be given up is dropped where it awaits. One
/// that blocks its thread cannot be: it runs on, and should the partition come back, the next call may overlap it.
#[async_trait]
pub trait RecordHandler: Send + Sync + 'static {
    /// Processes a batch of one partition, in order: as many records as take no long time, going by the batches before.
    /// Records may repeat: processing must be idempotent.
    async fn handle(&self, records: &[Record]) -> BatchOutcome;

    /// How many partitions the topic has; called before the first assignment and when it grows.
    async fn partition_count_changed(&self, _partitions: usize) {}

    /// The most that one call of [`RecordHandler::handle`] should be given.
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    /// Where the processing of a partition starts. It is asked each time that the partition is taken up. A handler that
    /// stores its position with what it makes of the records answers with that, and is asked again after each of its
    /// transient errors, since it may have stored what it could not tell. The group's committed offset then follows.
    async fn start_from(&self, _partition: i32, _log: &LogState) -> Result<StartFrom, TransientError> {
        Ok(StartFrom::Committed)
    }

    /// Processing goes on at this offset, although the handler's position is another one or unknown: there was none, or
    /// the log does not have it any more.
    async fn reset_to(&self, _partition: i32, _offset: i64) -> Result<(), TransientError> {
        Ok(())
    }

    /// Everything below this offset is done, the dead letters included. A handler that stores its position is told so
    /// after each batch that had dead letters: it may not store one above a record whose dead letter is not acknowledged.
    async fn completed(&self, _partition: i32, _offset: i64) -> Result<(), TransientError> {
        Ok(())
    }

    /// How far before the committed offset [`RecordHandler::restore`] wants to look, in records, where it is not known
    /// how far back the projection reached ([`RecordHandler::held_from`]); 0 for not at all.
    fn restore_window(&self) -> u64 {
        0
    }

    /// The offset of the oldest record of the partition that the projection holds; `None` where there is none, or no
    /// projection. It is committed beside the partition's offset, so that whoever restores the partition begins just
    /// there, whatever the log has had since.
    fn held_from(&self, _partition: i32) -> Option<i64> {
        None
    }

    /// Takes records that were processed before, by this instance or another, into a projection.
    /// No side effects. What is malformed is skipped: it was dead-lettered when it was processed.
    async fn restore(&self, _records: &[Record]) -> Result<(), TransientError> {
        Ok(())
    }

    /// Whether the projection of this partition would hold more, had [`RecordHandler::restore`] begun earlier.
    async fn wants_older(&self, _partition: i32) -> bool {
        false
    }

    /// The partition went to another member, or is about to be restored anew: its projection is to be forgotten.
    async fn forget(&self, _partition: i32) {}
}

/// How large a batch may become while there is a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most records.
    pub records: usize,
    /// How long a call should take at most: between two calls the consumer looks at its lease and whether it is to stop,
    /// and what is done can be committed.
    pub duration: Duration,
}

/// About a millisecond's worth of records for a handler that only stores them in memory, and 50 ms.
impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1024, duration: Duration::from_millis(50) }
    }
}

/// A partition's log, as its leader has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Kafka's id of the topic (KIP-516), where the broker tells it: a topic that is deleted and made again has another.
    pub topic_id: Option<Uuid>,
    /// The offsets that it has.
    pub offsets: Range<i64>,
}

/// Where the processing of a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the group's committed offset: the handler stores no position.
    Committed,
    /// At this offset, whatever the group has committed.
    Offset(i64),
    /// Where `offset_reset` says: the handler stores positions, and has none of this partition.
    Reset,
}

/// What became of a batch: everything is done but what is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Records that can never be processed: they go to the dead letter topic.
    pub poison: Vec<Poison>,
    /// Set when a passing failure stopped the batch: that record and all after it are tried again.
    pub retry_from: Option<RetryFrom>,
}

/// A record that can never be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Its place in the batch.
    pub index: usize,
    /// Why, for the log and the dead letter's header.
    pub reason: String,
}

/// Where a batch stopped for a failure that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryFrom {
    /// The place in the batch of the first record that is not done.
    pub index: usize,
    /// Why.
    pub error: TransientError,
}

/// A failure that may pass, such as a store that is away; it is retried with backoff, and nothing is skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransientError(pub String);
