//! Records that wait for an acknowledgement, in batches.

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{buffer_budget::Permit, failure::is_of_now};
use crate::{Message, PublishError, Receipt, wire::encode_batch};

/// The most bytes of a record on the wire beside its key, value and headers (KIP-98's varints).
const RECORD_OVERHEAD: usize = 32;

/// A record that waits for its acknowledgement, and its caller.
#[derive(Debug)]
pub(super) struct PendingRecord {
    message: Message,
    deadline: Instant,
    bytes: usize,
    /// It may be in the log: an attempt is in flight, or ended without a response. A later refusal does not change
    /// that.
    possibly_written: bool,
    /// `None` once the caller has an answer, which may be before the record has one.
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

    /// Answers the caller, unless it has an answer already.
    fn answer(&mut self, result: Result<Receipt, PublishError>) {
        if let Some(reply) = self.reply.take() {
            let _caller_gone = reply.send(result);
        }
    }

    /// Answers with a refusal. After an earlier attempt that may have written the record, that is told instead.
    pub(super) fn refuse(&mut self, error: &PublishError) {
        self.answer(Err(match self.possibly_written {
            true => PublishError::Unavailable { reason: error.to_string(), possibly_written: true },
            false => error.clone(),
        }));
    }

    /// Answers the caller if its deadline has passed.
    pub(super) fn expire(&mut self, now: Instant, in_flight: bool, reason: &str) {
        if self.is_expired(now) {
            let possibly_written = self.possibly_written || in_flight;
            self.answer(Err(PublishError::Unavailable { reason: reason.to_owned(), possibly_written }));
        }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// The most bytes that it takes in a batch.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the caller still waits.
    fn is_awaited(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }
}

/// The most bytes that a message takes in a batch.
pub(super) fn size_of(message: &Message) -> usize {
    let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + 10);
    message.key.as_ref().map_or(0, Vec::len)
        + message.value.as_ref().map_or(0, Vec::len)
        + headers.sum::<usize>()
        + RECORD_OVERHEAD
}

/// Records of one partition that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<PendingRecord>);

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The most bytes that its records take.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(PendingRecord::bytes).sum()
    }

    pub(super) fn extend(&mut self, records: impl Iterator<Item = PendingRecord>) {
        self.0.extend(records);
    }

    /// Whether the timestamps of all records are of now, by this machine's clock.
    pub(super) fn is_of_now(&self) -> bool {
        self.0.iter().all(|pending| is_of_now(pending.message.timestamp))
    }

    /// The record batch to send. The records stay for another attempt.
    pub(super) fn encoded(&self) -> Bytes {
        encode_batch(self.0.iter().map(|pending| &pending.message))
    }

    /// The latest deadline of the records.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|pending| pending.deadline).max()
    }

    /// Answers the callers whose deadline has passed. Their records stay: the batch may be in flight.
    pub(super) fn expire(&mut self, now: Instant, in_flight: bool, reason: &str) {
        self.0.iter_mut().for_each(|pending| pending.expire(now, in_flight, reason));
    }

    /// Drops the records whose callers wait no more.
    pub(super) fn drop_unawaited(&mut self) {
        self.0.retain(PendingRecord::is_awaited);
    }

    /// Answers all callers: the first record is at that offset, the others follow.
    pub(super) fn acknowledge(self, partition: i32, first: i64) {
        for (mut pending, offset) in self.0.into_iter().zip(first..) {
            pending.answer(Ok(Receipt { partition, offset }));
        }
    }

    /// Answers all callers: Kafka refused the records.
    pub(super) fn refuse(mut self, error: &PublishError) {
        self.0.iter_mut().for_each(|pending| pending.refuse(error));
    }

    /// Notes that an attempt ended without a response.
    pub(super) fn mark_unanswered(&mut self) {
        self.0.iter_mut().for_each(|pending| pending.possibly_written = true);
    }

    /// Splits it in two halves, in order.
    pub(super) fn split(mut self) -> (Self, Self) {
        let second = self.0.split_off(self.0.len() / 2);
        (self, Self(second))
    }
}
