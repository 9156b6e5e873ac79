//! The sender of records: the producer, or a test's substitute.

use async_trait::async_trait;
use thiserror::Error;

use super::{Message, Receipt};

/// Sends records. [`Producer`](crate::Producer) implements it.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Sends a record, and waits until all in-sync replicas have it.
    ///
    /// # Errors
    ///
    /// The record was not acknowledged within the producer's timeout, or was refused.
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError>;
}

/// A record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The queue is full, in records or in bytes. Nothing was sent.
    #[error("the queue to Kafka is full")]
    QueueFull,
    /// The circuit breaker of the partition's leader, `host:port`, is open. Nothing was sent.
    #[error("broker {0} acknowledges nothing")]
    CircuitOpen(String),
    /// The record is larger than the topic or the broker allows. A retry does not help.
    #[error("the record is larger than Kafka takes: {0}")]
    TooLarge(String),
    /// Kafka refuses this record. A retry does not help.
    #[error("Kafka refused the record: {0}")]
    Refused(String),
    /// Kafka refuses every record until somebody acts: rights are missing, the topic takes no records, or this machine's
    /// clock is off.
    #[error("Kafka refused the record: {0}")]
    Forbidden(String),
    /// No acknowledgement came within [`ProducerConfig::timeout`](crate::ProducerConfig::timeout), or the broker failed in
    /// a way that a retry does not mend.
    #[error("Kafka did not acknowledge in time: {reason}")]
    Unavailable {
        /// The last error.
        reason: String,
        /// Whether the record may be in the log: it was sent, and the response was lost.
        possibly_written: bool,
    },
    /// [`Producer::close`](crate::Producer::close) was called. Nothing was sent.
    #[error("the producer is shutting down")]
    Stopping,
}

impl PublishError {
    /// Whether the record may be in the log all the same.
    pub fn possibly_written(&self) -> bool {
        matches!(self, Self::Unavailable { possibly_written: true, .. })
    }
}
