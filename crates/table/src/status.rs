//! The progress of a table in each partition.

use std::sync::Arc;

use highwater_kafka::wire::Fetched;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::{Projection, Replica};

/// The state of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TableStatus {
    /// The topic that the table reads.
    pub topic: String,
    /// Whether the table has reached the end of the log once since the start.
    pub complete: bool,
    /// Events that are part of the state.
    pub applied: u64,
    /// Events that count for nothing.
    pub rejected: u64,
    /// About how many bytes of memory the table takes.
    pub bytes: usize,
    /// The partitions.
    pub partitions: Vec<TablePartition>,
}

/// A partition of a table's topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TablePartition {
    /// Its number.
    pub partition: i32,
    /// The next offset to read.
    pub position: i64,
    /// The end of the log as last seen; records of an open transaction count.
    pub end: i64,
    /// The error that keeps the table from reading on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The progress of the follower of each partition.
#[derive(Debug)]
pub(super) struct Progress {
    topic: Arc<str>,
    partitions: Vec<watch::Sender<PartitionProgress>>,
}

#[derive(Debug, Default)]
struct PartitionProgress {
    position: i64,
    end: i64,
    /// Whether the follower has reached the log's end once.
    reached_end: bool,
    error: Option<String>,
}

impl Progress {
    pub(super) fn new(topic: &Arc<str>, partitions: i32) -> Self {
        let partitions = (0..partitions).map(|_| watch::Sender::new(PartitionProgress::default())).collect();
        Self { topic: Arc::clone(topic), partitions }
    }

    /// Notes that the records of a fetch are applied.
    pub(super) fn moved(&self, partition: i32, fetched: &Fetched) {
        self.change(partition, |progress| {
            (progress.position, progress.end, progress.error) = (fetched.next, fetched.end, None);
            // Nobody can read beyond the last stable offset while a transaction is open.
            progress.reached_end |= fetched.next >= fetched.stable;
        });
    }

    /// Notes the reason why a partition cannot be read.
    pub(super) fn failed(&self, partition: i32, error: &dyn std::fmt::Display) {
        self.change(partition, |progress| progress.error = Some(error.to_string()));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.partitions.iter().all(|progress| progress.borrow().reached_end)
    }

    /// Waits until each partition has been read to its offset of these.
    pub(super) async fn reached(&self, ends: &[i64]) {
        for (progress, end) in self.partitions.iter().zip(ends) {
            // The sender lives as long as `self`.
            let _ = progress.subscribe().wait_for(|progress| progress.position >= *end).await;
        }
    }

    pub(super) fn status<P: Projection>(&self, replica: &Replica<P>) -> TableStatus {
        let partitions = self.partitions.iter().enumerate().map(|(partition, progress)| {
            let PartitionProgress { position, end, error, .. } = &*progress.borrow();
            TablePartition {
                partition: partition as i32,
                position: *position,
                end: *end,
                error: error.clone(),
            }
        });
        TableStatus {
            topic: self.topic.to_string(),
            complete: self.is_complete(),
            applied: replica.applied(),
            rejected: replica.rejected(),
            bytes: replica.projection().bytes(),
            partitions: partitions.collect(),
        }
    }

    fn change(&self, partition: i32, change: impl FnOnce(&mut PartitionProgress)) {
        if let Some(progress) = usize::try_from(partition).ok().and_then(|index| self.partitions.get(index)) {
            progress.send_modify(change);
        }
    }
}
