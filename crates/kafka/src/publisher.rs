//! The seam between those who publish and the producer that does it.

use async_trait::async_trait;
use thiserror::Error;

use super::{Message, Receipt};

/// Sends a message and waits until Kafka has it. [`super::Producer`] is the real one.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Resolves when all in-sync replicas have the record, or within the producer's time-out.
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError>;
}

/// Why a message was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The queue is at its bound in count or bytes; nothing was sent.
    #[error("the queue to Kafka is full")]
    QueueFull,
    /// The broker that leads the record's partition hangs: its circuit is open. Nothing was sent.
    #[error("broker {0} acknowledges nothing")]
    CircuitOpen(String),
    /// Larger than Kafka takes; nothing was written, and trying again does not help.
    #[error("the record is larger than Kafka takes: {0}")]
    TooLarge(String),
    /// Kafka refused it as it is; nothing was written, and trying again does not help.
    #[error("Kafka refused the record: {0}")]
    Refused(String),
    /// Kafka refuses whatever is published, until somebody acts: rights are missing, or the clock of this machine is
    /// off; nothing was written.
    #[error("Kafka refused the record: {0}")]
    Forbidden(String),
    /// The time-out passed without an acknowledgement.
    #[error("Kafka did not acknowledge in time: {reason}")]
    Unavailable {
        /// What was last seen to go wrong.
        reason: String,
        /// Whether the record may be in the log all the same: it had been sent, and the answer was lost.
        possibly_written: bool,
    },
    /// The process is stopping and takes nothing more; nothing was sent.
    #[error("the producer is shutting down")]
    Stopping,
}
