//! What the producer and the consumer did, counted where it happens: each count is one atomic.

use std::sync::atomic::{AtomicU64, Ordering};

use super::PublishError;

/// How often something happened.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, times: u64) {
        self.0.fetch_add(times, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a producer has done so far.
#[derive(Debug, Default)]
pub(super) struct ProducerCounts {
    pub(super) records: Count,
    pub(super) batches: Count,
    pub(super) retries: Count,
    pub(super) throttled: Count,
    errors: [Count; REASONS.len()],
}

/// Why a record was not acknowledged, as [`ProducerMetrics::errors`] calls it.
const REASONS: [&str; 7] =
    ["queue_full", "circuit_open", "too_large", "refused", "not_written", "possibly_written", "stopping"];

impl ProducerCounts {
    pub(super) fn error(&self, error: &PublishError) {
        let reason = match error {
            PublishError::QueueFull => 0,
            PublishError::CircuitOpen(_) => 1,
            PublishError::TooLarge(_) => 2,
            PublishError::Refused(_) | PublishError::Forbidden(_) => 3,
            PublishError::Unavailable { possibly_written: false, .. } => 4,
            PublishError::Unavailable { possibly_written: true, .. } => 5,
            PublishError::Stopping => 6,
        };
        self.errors[reason].add(1);
    }

    pub(super) fn errors(&self) -> Vec<(&'static str, u64)> {
        REASONS.into_iter().zip(self.errors.iter().map(Count::get)).collect()
    }
}

/// What a producer has done and holds, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records that Kafka acknowledged.
    pub records: u64,
    /// Batches in which they travelled.
    pub batches: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// How often it waited because Kafka throttles this client by a quota.
    pub throttled: u64,
    /// Records that were not acknowledged, by reason.
    pub errors: Vec<(&'static str, u64)>,
    /// Records that wait for Kafka now.
    pub queued_records: usize,
    /// Their size in bytes.
    pub queued_bytes: usize,
}

/// What a consumer has done so far.
#[derive(Debug, Default)]
pub struct ConsumerCounts {
    pub(super) records: Count,
    pub(super) dead_letters: Count,
    pub(super) resets: Count,
    pub(super) skipped: Count,
    pub(super) recreations: Count,
}

impl ConsumerCounts {
    /// Records that its handler has seen to, those that became dead letters among them.
    pub fn records(&self) -> u64 {
        self.records.get()
    }

    /// Records that it set aside.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.get()
    }

    /// How often the offset to go on from was not in the log, as where retention passed it.
    pub fn offset_resets(&self) -> u64 {
        self.resets.get()
    }

    /// Offsets that were passed over by that.
    pub fn skipped(&self) -> u64 {
        self.skipped.get()
    }

    /// How often the topic was found to be another one, which was made with the name of the one before.
    pub fn recreations(&self) -> u64 {
        self.recreations.get()
    }
}
