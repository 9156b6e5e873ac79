//! Records on their way, and the batches they travel in.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{buffer_budget::Permit, failure::is_of_now};
use crate::{Message, PublishError, Receipt, wire::encode_batch};

/// What a record costs on the wire beside its key, value and headers, at most (KIP-98's varints).
const RECORD_OVERHEAD: usize = 32;

/// A record that waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct PendingRecord {
    message: Message,
    deadline: Instant,
    bytes: usize,
    /// It may be in the log: an attempt is under way, or one ended without Kafka's word on it. No later
    /// refusal makes it unwritten.
    possibly_written: bool,
    /// `None` once the caller has an answer, which it can have while the record is still on its way.
    reply: Option<oneshot::Sender<Result<Receipt, PublishError>>>,
    _permit: Permit,
}

impl PendingRecord {
    pub(super) fn new(
        message: Message,
        deadline: Instant,
        reply: oneshot::Sender<Result<Receipt, PublishError>>,
        permit: Permit,
    ) -> Self {
        let bytes = size_of(&message);
        Self { message, deadline, bytes, possibly_written: false, reply: Some(reply), _permit: permit }
    }

    /// Answers the caller, once; one who has gone is not missed.
    fn answer(&mut self, result: Result<Receipt, PublishError>) {
        if let Some(reply) = self.reply.take() {
            let _caller_gone = reply.send(result);
        }
    }

    /// Answers with a refusal, which is the truth only where no earlier attempt may have written it.
    fn refuse(&mut self, error: &PublishError) {
        self.answer(Err(match self.possibly_written {
            true => PublishError::Unavailable { reason: error.to_string(), possibly_written: true },
            false => error.clone(),
        }));
    }

    /// Answers a caller whose time is up.
    fn expire(&mut self, now: Instant, in_flight: bool, reason: &str) {
        if self.deadline <= now {
            let possibly_written = self.possibly_written || in_flight;
            self.answer(Err(PublishError::Unavailable { reason: reason.to_owned(), possibly_written }));
        }
    }

    /// Whether somebody still waits for it.
    fn is_awaited(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
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

/// Records that go to Kafka in one request.
#[derive(Debug)]
pub(super) struct Batch(Vec<PendingRecord>);

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all of them are of now, by this machine's clock.
    pub(super) fn is_of_now(&self) -> bool {
        self.0.iter().all(|pending| is_of_now(pending.message.timestamp))
    }

    /// What is to be sent; the batch keeps it for another attempt.
    pub(super) fn encoded(&self) -> Bytes {
        encode_batch(self.0.iter().map(|pending| &pending.message))
    }

    /// The latest moment at which somebody still waits for one of them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|pending| pending.deadline).max()
    }

    /// Answers those whose time is up, and leaves them where they are: the attempt may be under way.
    pub(super) fn expire(&mut self, now: Instant, in_flight: bool, reason: &str) {
        self.0.iter_mut().for_each(|pending| pending.expire(now, in_flight, reason));
    }

    /// What nobody waits for is not sent, or not again.
    pub(super) fn drop_unawaited(&mut self) {
        self.0.retain(PendingRecord::is_awaited);
    }

    /// Kafka has all of them, from this offset on.
    pub(super) fn acknowledge(self, partition: i32, first: i64) {
        for (mut pending, offset) in self.0.into_iter().zip(first..) {
            pending.answer(Ok(Receipt { partition, offset }));
        }
    }

    /// Kafka takes none of them, and said so.
    pub(super) fn refuse(mut self, error: &PublishError) {
        self.0.iter_mut().for_each(|pending| pending.refuse(error));
    }

    /// The attempt ended without Kafka's word on whether they were written.
    pub(super) fn mark_unanswered(&mut self) {
        self.0.iter_mut().for_each(|pending| pending.possibly_written = true);
    }

    /// Two halves, in order.
    pub(super) fn split(mut self) -> (Self, Self) {
        let second = self.0.split_off(self.0.len() / 2);
        (self, Self(second))
    }
}

/// What waits behind the batch under way; gathers the next one, up to a bound in bytes.
#[derive(Debug)]
pub(super) struct BatchAccumulator {
    receiver: mpsc::UnboundedReceiver<PendingRecord>,
    waiting: VecDeque<PendingRecord>,
    most_bytes: usize,
}

impl BatchAccumulator {
    pub(super) fn new(receiver: mpsc::UnboundedReceiver<PendingRecord>, most_bytes: usize) -> Self {
        Self { receiver, waiting: VecDeque::new(), most_bytes }
    }

    /// Whether nothing waits, as far as was taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits until there is something to send; false when all senders are gone and nothing is left. May be
    /// cancelled: nothing is lost.
    pub(super) async fn ready(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.receiver.recv().await {
                Some(pending) => self.waiting.push_back(pending),
                None => return false,
            }
        }
        true
    }

    /// The next batch: what is there, up to the bound; one record always fits.
    pub(super) fn gather(&mut self) -> Batch {
        let mut batch = Batch(Vec::new());
        self.top_up(&mut batch);
        batch
    }

    /// Adds what came since the batch was gathered, up to the bound.
    pub(super) fn top_up(&mut self, batch: &mut Batch) {
        self.take_in();
        let mut bytes: usize = batch.0.iter().map(|pending| pending.bytes).sum();
        let fit = self.waiting.iter().enumerate().take_while(|(place, pending)| {
            bytes += pending.bytes;
            bytes <= self.most_bytes || (*place == 0 && batch.0.is_empty())
        });
        let count = fit.count();
        batch.0.extend(self.waiting.drain(..count));
    }

    /// Answers those whose time is up before their turn came. The oldest are in front.
    pub(super) fn expire(&mut self, now: Instant, reason: &str) {
        self.take_in();
        while self.waiting.front().is_some_and(|pending| pending.deadline <= now) {
            if let Some(mut pending) = self.waiting.pop_front() {
                pending.expire(now, false, reason);
            }
        }
    }

    /// Answers all that wait for their turn: they are not to be sent.
    pub(super) fn refuse(&mut self, error: &PublishError) {
        self.take_in();
        self.waiting.drain(..).for_each(|mut pending| pending.refuse(error));
    }

    fn take_in(&mut self) {
        while let Ok(pending) = self.receiver.try_recv() {
            self.waiting.push_back(pending);
        }
    }
}
