//! Records on their way, and the batches they travel in.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rskafka::record::Record;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::queue::Room;
use crate::messaging::{Message, PublishError, Receipt};

/// What a record costs on the wire beside its key, value and headers, at most (KIP-98's varints).
const RECORD_OVERHEAD: usize = 32;

/// A record that waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) record: Record,
    pub(super) deadline: Instant,
    bytes: usize,
    sent: Arc<AtomicBool>,
    /// An earlier attempt was never answered: no later refusal makes it unwritten.
    ambiguous: bool,
    reply: oneshot::Sender<Result<Receipt, PublishError>>,
    _room: Room,
}

impl Pending {
    /// Also returns whether it was ever sent without a clear answer, to be asked when time is up.
    pub(super) fn new(
        message: Message,
        deadline: Instant,
        reply: oneshot::Sender<Result<Receipt, PublishError>>,
        room: Room,
    ) -> (Self, Arc<AtomicBool>) {
        let sent = Arc::new(AtomicBool::new(false));
        let bytes = size_of(&message);
        let record = Record {
            key: message.key,
            value: message.value,
            headers: message.headers.into_iter().collect(),
            timestamp: message.timestamp,
        };
        let pending =
            Self { record, deadline, bytes, sent: Arc::clone(&sent), ambiguous: false, reply, _room: room };
        (pending, sent)
    }

    /// From now on it may be in the log without our knowing.
    pub(super) fn mark_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// The attempt ended without Kafka's word on whether it was written.
    pub(super) fn mark_unanswered(&mut self) {
        self.ambiguous = self.possibly_written();
    }

    /// Kafka said that this attempt did not write it.
    pub(super) fn mark_refused(&self) {
        self.sent.store(self.ambiguous, Ordering::Relaxed);
    }

    /// Answers the caller; one who has gone is not missed.
    pub(super) fn answer(self, result: Result<Receipt, PublishError>) {
        let _caller_gone = self.reply.send(result);
    }

    /// Whether nobody waits any more, or its time is up.
    pub(super) fn is_over(&self) -> bool {
        self.reply.is_closed() || self.deadline <= Instant::now()
    }

    pub(super) fn possibly_written(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }
}

/// An upper bound of a message's size in a batch, in bytes.
pub(super) fn size_of(message: &Message) -> usize {
    let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + 10);
    message.key.as_ref().map_or(0, Vec::len)
        + message.value.as_ref().map_or(0, Vec::len)
        + headers.sum::<usize>()
        + RECORD_OVERHEAD
}

/// Gathers what has queued up, up to a bound in bytes; one record always fits.
#[derive(Debug)]
pub(super) struct Gatherer {
    receiver: mpsc::UnboundedReceiver<Pending>,
    carried_over: Option<Pending>,
    most_bytes: usize,
}

impl Gatherer {
    pub(super) fn new(receiver: mpsc::UnboundedReceiver<Pending>, most_bytes: usize) -> Self {
        Self { receiver, carried_over: None, most_bytes }
    }

    /// Waits until there is something to send, or nobody left who would. It can be given up and begun again.
    pub(super) async fn arrived(&mut self) {
        if self.carried_over.is_none() {
            self.carried_over = self.receiver.recv().await;
        }
    }

    /// The next batch: waits for one record, then takes what is there. `None` when all senders are gone.
    pub(super) async fn next(&mut self) -> Option<VecDeque<Pending>> {
        let first = match self.carried_over.take() {
            Some(pending) => pending,
            None => self.receiver.recv().await?,
        };
        // Whoever is about to send comes along: callers that were woken by the last acknowledgement, as a rule.
        tokio::task::yield_now().await;
        let mut bytes = first.bytes;
        let mut batch = VecDeque::from([first]);
        while let Ok(pending) = self.receiver.try_recv() {
            bytes += pending.bytes;
            if bytes > self.most_bytes {
                self.carried_over = Some(pending);
                break;
            }
            batch.push_back(pending);
        }
        Some(batch)
    }
}
