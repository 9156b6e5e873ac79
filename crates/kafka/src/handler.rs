//! The seam between the consumer and those who know what a record means.

use async_trait::async_trait;

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
