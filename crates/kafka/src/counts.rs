//! The counters of producers and consumers. Each is one atomic.

use std::sync::atomic::{AtomicU64, Ordering};

use super::PublishError;

/// A counter.
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

/// The counters of a producer.
#[derive(Debug, Default)]
pub(super) struct ProducerCounts {
    pub(super) records: Count,
    pub(super) batches: Count,
    pub(super) retries: Count,
    pub(super) throttled: Count,
    errors: [Count; REASONS.len()],
}

/// The reasons of [`ProducerMetrics::errors`].
const REASONS: [&str; 7] =
    ["queue_full", "circuit_open", "too_large", "refused", "not_written", "possibly_written", "stopping"];

impl PublishError {
    /// The reason in one word, as [`ProducerMetrics::errors`] has it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::CircuitOpen(_) => "circuit_open",
            Self::TooLarge(_) => "too_large",
            Self::Refused(_) | Self::Forbidden(_) => "refused",
            Self::Unavailable { possibly_written: false, .. } => "not_written",
            Self::Unavailable { possibly_written: true, .. } => "possibly_written",
            Self::Stopping => "stopping",
        }
    }
}

impl ProducerCounts {
    pub(super) fn error(&self, error: &PublishError) {
        if let Some(reason) = REASONS.iter().position(|reason| *reason == error.reason()) {
            self.errors[reason].add(1);
        }
    }

    pub(super) fn errors(&self) -> Vec<(&'static str, u64)> {
        REASONS.into_iter().zip(self.errors.iter().map(Count::get)).collect()
    }
}

/// The counters of a producer and the size of its queue, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Acknowledged records.
    pub records: u64,
    /// Acknowledged batches.
    pub batches: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Waits because Kafka throttled this client (a quota).
    pub throttled: u64,
    /// Records that were not acknowledged, by reason: `queue_full`, `circuit_open`, `too_large`, `refused`,
    /// `not_written`, `possibly_written`, `stopping`.
    pub errors: Vec<(&'static str, u64)>,
    /// Records in the queue.
    pub queued_records: usize,
    /// The bytes of the records in the queue.
    pub queued_bytes: usize,
}

/// The counters of a consumer.
#[derive(Debug, Default)]
pub struct ConsumerCounts {
    pub(super) records: Count,
    pub(super) dead_letters: Count,
    pub(super) resets: Count,
    pub(super) skipped: Count,
    pub(super) recreations: Count,
}

impl ConsumerCounts {
    /// Records that are done, dead letters included.
    pub fn records(&self) -> u64 {
        self.records.get()
    }

    /// Records that were sent to the dead letter topic.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.get()
    }

    /// Resets of the offset because it was out of range, as after retention deleted its record.
    pub fn offset_resets(&self) -> u64 {
        self.resets.get()
    }

    /// Offsets that resets have skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped.get()
    }

    /// The number of times that the topic was found to be deleted and recreated.
    pub fn recreations(&self) -> u64 {
        self.recreations.get()
    }
}
