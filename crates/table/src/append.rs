//! Writing to a table: the result is the outcome of the event, as this instance read it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use highwater_kafka::{Context, Envelope, PublishError};
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use super::{EventOutcome, EventSourcedTable, Projection};

/// The longest time in which an event that Kafka has acknowledged is read back.
const READ_BACK: Duration = Duration::from_secs(5);

/// The reason why an event is not known to be part of the state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The event is in the log, and rejected: the state had changed. Read the state again and decide anew.
    #[error("the state has changed meanwhile")]
    Rejected,
    /// The table has not reached the log's end yet; nothing was written.
    #[error("the state is not read yet")]
    Incomplete,
    /// Kafka has acknowledged the event, and it was not read back within this time. It is in the log, and applied or
    /// rejected.
    #[error("it is written, and was not read back within {0:?}")]
    NotReadBack(Duration),
    /// The event was not acknowledged.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl<P: Projection> EventSourcedTable<P> {
    /// Writes an event, and waits until this instance has read its first appearance in the log. A copy of the event,
    /// which a repeated write makes, does not change the result.
    ///
    /// # Errors
    ///
    /// The event is rejected, or its outcome is not known.
    pub async fn append(&self, event: P::Event, context: &Context) -> Result<Envelope, AppendError> {
        if !self.is_complete() {
            return Err(AppendError::Incomplete);
        }
        let envelope = self.producer.envelope(context, &event);
        let pending = self.shared.pending.register(envelope.id);
        self.producer.send_enveloped(&envelope, event).await?;
        match timeout(READ_BACK, pending.outcome()).await {
            Ok(Ok(EventOutcome::Applied)) => Ok(envelope),
            Ok(Ok(EventOutcome::Rejected)) => Err(AppendError::Rejected),
            _ => Err(AppendError::NotReadBack(READ_BACK)),
        }
    }
}

/// The appends that wait for an outcome, by the event's id.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingAppends(Arc<Mutex<HashMap<Uuid, oneshot::Sender<EventOutcome>>>>);

/// An append that waits for its outcome; dropped, it waits no more.
#[derive(Debug)]
pub(super) struct PendingAppend {
    id: Uuid,
    all: PendingAppends,
    outcome: oneshot::Receiver<EventOutcome>,
}

impl PendingAppends {
    fn register(&self, id: Uuid) -> PendingAppend {
        let (sender, outcome) = oneshot::channel();
        self.lock().insert(id, sender);
        PendingAppend { id, all: self.clone(), outcome }
    }

    /// The event was read. Only its first appearance resolves an append.
    pub(super) fn resolve(&self, id: Uuid, outcome: EventOutcome) {
        if let Some(pending) = self.lock().remove(&id) {
            let _dropped = pending.send(outcome);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<EventOutcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingAppend {
    async fn outcome(mut self) -> Result<EventOutcome, oneshot::error::RecvError> {
        (&mut self.outcome).await
    }
}

impl Drop for PendingAppend {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}
