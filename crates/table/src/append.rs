//! Writing to a ledger: the answer is what became of the event, as this instance read it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use highwater_kafka::{Context, Envelope, PublishError};
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use super::{Fate, Fold, Ledger};

/// How long an event that Kafka has acknowledged may take to be read again.
const READ_BACK: Duration = Duration::from_secs(5);

/// Why an event is not known to be part of the state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// It is in the log, and void: the state had moved on. Look again, and decide anew.
    #[error("the state has changed meanwhile")]
    Void,
    /// The view has not reached the log's end yet; nothing was written.
    #[error("the state is not read yet")]
    Incomplete,
    /// Kafka has acknowledged it, and it was not read again within that time: it is in the log, and part of the
    /// state or void.
    #[error("it is written, and was not read back within {0:?}")]
    Unread(Duration),
    /// It was not acknowledged.
    #[error(transparent)]
    Unpublished(#[from] PublishError),
}

impl<F: Fold> Ledger<F> {
    /// Writes an event, and waits until this instance has taken in its first appearance in the log: a copy of it,
    /// which a repeated write makes, changes nothing about the answer.
    ///
    /// # Errors
    ///
    /// It is void, or it is not known what became of it.
    pub async fn append(&self, event: F::Event, context: &Context) -> Result<Envelope, AppendError> {
        if !self.is_complete() {
            return Err(AppendError::Incomplete);
        }
        let envelope = self.producer.envelope(context, &event);
        let fate = self.shared.awaited.register(envelope.id);
        self.producer.send_enveloped(&envelope, event).await?;
        match timeout(READ_BACK, fate.receiver()).await {
            Ok(Ok(Fate::Valid)) => Ok(envelope),
            Ok(Ok(Fate::Void)) => Err(AppendError::Void),
            _ => Err(AppendError::Unread(READ_BACK)),
        }
    }
}

/// Who waits for the fate of which event.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaited(Arc<Mutex<HashMap<Uuid, oneshot::Sender<Fate>>>>);

/// A wait, given up when dropped.
#[derive(Debug)]
pub(super) struct Wait {
    id: Uuid,
    awaited: Awaited,
    fate: oneshot::Receiver<Fate>,
}

impl Awaited {
    fn register(&self, id: Uuid) -> Wait {
        let (sender, fate) = oneshot::channel();
        self.waiting().insert(id, sender);
        Wait { id, awaited: self.clone(), fate }
    }

    /// The event has appeared; only the first time somebody is told.
    pub(super) fn tell(&self, id: Uuid, fate: Fate) {
        if let Some(waiting) = self.waiting().remove(&id) {
            let _gone = waiting.send(fate);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<Fate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    async fn receiver(mut self) -> Result<Fate, oneshot::error::RecvError> {
        (&mut self.fate).await
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.awaited.waiting().remove(&self.id);
    }
}
