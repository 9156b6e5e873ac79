//! The sender of records: the producer, or a test's substitute.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{Message, OnAcknowledgement, Receipt, counts::ProducerCounts};

/// Sends records. [`Producer`](crate::Producer) implements it.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Sends a record, and waits until all in-sync replicas have it.
    ///
    /// # Errors
    ///
    /// The record was not acknowledged within the producer's timeout, or was refused.
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError>;

    /// Appends a record to the queue of its partition (`KafkaProducer.send` in Java). Records that are enqueued one after
    /// the other are written in that order. While the queue has no room, it waits, as with Java's `max.block.ms`: at most
    /// the producer's timeout.
    async fn enqueue(&self, message: Message) -> Delivery {
        Delivery::done(self.publish(message).await)
    }
}

/// The acknowledgement of an enqueued record, which may be still to come. If it is dropped, a record that is not sent yet
/// may never be.
pub struct Delivery {
    state: State,
    intercepted: Option<OnAcknowledgement>,
}

#[derive(Debug)]
enum State {
    Done(Option<Result<Receipt, PublishError>>),
    Queued(oneshot::Receiver<Result<Receipt, PublishError>>, Arc<ProducerCounts>),
}

impl Delivery {
    /// A delivery whose acknowledgement has come.
    pub fn done(result: Result<Receipt, PublishError>) -> Self {
        Self { state: State::Done(Some(result)), intercepted: None }
    }

    pub(super) fn queued(
        answer: oneshot::Receiver<Result<Receipt, PublishError>>,
        counts: Arc<ProducerCounts>,
    ) -> Self {
        Self { state: State::Queued(answer, counts), intercepted: None }
    }

    pub(super) fn intercepted_by(self, intercepted: Option<OnAcknowledgement>) -> Self {
        Self { intercepted, ..self }
    }
}

impl Future for Delivery {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = || {
            let reason = "the producer ended before Kafka acknowledged".to_owned();
            Err(PublishError::Unavailable { reason, possibly_written: true })
        };
        let result = match &mut self.state {
            State::Done(result) => result.take().unwrap_or_else(ended),
            State::Queued(answer, counts) => {
                let result = ready!(Pin::new(answer).poll(context)).unwrap_or_else(|_| ended());
                match &result {
                    Ok(_) => counts.records.add(1),
                    Err(error) => counts.error(error),
                }
                result
            }
        };
        if let Some(hears) = self.intercepted.take() {
            hears(&result);
        }
        Poll::Ready(result)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.state).finish()
    }
}

/// A record was not acknowledged. One error is that of all records of a batch, so it has its cause in words.
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
