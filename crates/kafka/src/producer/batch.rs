//! Records that wait for an acknowledgement, in batches.

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{buffer_budget::Permit, failure::is_of_now};
use crate::{
    Message, PublishError, Receipt,
    wire::{BatchSequence, EMPTY_BATCH, EncodedRecord, encode_batch},
};

/// The most bytes of a record's lengths and numbers, for the budget of the queue (KIP-98's varints).
const RECORD_OVERHEAD: usize = 32;

/// A record that waits for its acknowledgement, and its caller.
#[derive(Debug)]
pub(super) struct PendingRecord {
    record: EncodedRecord,
    deadline: Instant,
    /// It may be in the log: an attempt is in flight, or ended without a response. A later refusal does not change
    /// that.
    possibly_written: bool,
    /// `None` once the caller has an answer, which may be before the record has one.
    reply: Option<oneshot::Sender<Result<Receipt, PublishError>>>,
    _permit: Permit,
}

impl PendingRecord {
    pub(super) fn new(
        record: EncodedRecord,
        deadline: Instant,
        reply: oneshot::Sender<Result<Receipt, PublishError>>,
        permit: Permit,
    ) -> Self {
        Self { record, deadline, possibly_written: false, reply: Some(reply), _permit: permit }
    }

    /// Answers the caller, unless it has an answer already.
    fn answer(&mut self, result: Result<Receipt, PublishError>) {
        if let Some(reply) = self.reply.take() {
            let _caller_gone = reply.send(result);
        }
    }

    /// Answers with a refusal. If an earlier attempt may have written the record, the answer says that instead.
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

    /// The most bytes of the record in a batch.
    pub(super) fn bytes(&self) -> usize {
        self.record.max_size()
    }

    /// Whether the caller still waits.
    fn is_awaited(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }
}

/// The bytes that a message counts as in the queue.
pub(super) fn size_of(message: &Message) -> usize {
    let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + 10);
    message.key.as_ref().map_or(0, Vec::len)
        + message.value.as_ref().map_or(0, Vec::len)
        + headers.sum::<usize>()
        + RECORD_OVERHEAD
}

/// Records of one partition that are sent together.
#[derive(Debug, Default)]
pub(super) struct ProducerBatch {
    records: Vec<PendingRecord>,
    /// The numbers that it was sent with. They stand for these records and for no others.
    pub(super) sequence: Option<BatchSequence>,
}

impl ProducerBatch {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The most bytes of the batch.
    pub(super) fn bytes(&self) -> usize {
        EMPTY_BATCH + self.records.iter().map(PendingRecord::bytes).sum::<usize>()
    }

    pub(super) fn extend(&mut self, records: impl Iterator<Item = PendingRecord>) {
        self.records.extend(records);
    }

    /// Whether the timestamps of all records are current, by this machine's clock.
    pub(super) fn is_of_now(&self) -> bool {
        self.records.iter().all(|pending| is_of_now(pending.record.timestamp))
    }

    /// Whether it may be in the log, as far as its attempts tell.
    pub(super) fn is_possibly_written(&self) -> bool {
        self.records.iter().any(|pending| pending.possibly_written)
    }

    /// The record batch to send. The records stay for another attempt.
    pub(super) fn encoded(&self) -> Bytes {
        encode_batch(self.records.iter().map(|pending| &pending.record), self.sequence)
    }

    /// The latest deadline of the records whose callers wait; `None` if there are none.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.records.iter().filter(|pending| pending.is_awaited()).map(|pending| pending.deadline).max()
    }

    /// Answers the callers whose deadline has passed. Their records stay: the batch may be in flight.
    pub(super) fn expire(&mut self, now: Instant, in_flight: bool, reason: &str) {
        self.records.iter_mut().for_each(|pending| pending.expire(now, in_flight, reason));
    }

    /// Drops the records whose callers wait no more. A batch that may be in the log keeps all: brokers recognise it only
    /// if it is whole.
    pub(super) fn drop_unawaited(&mut self) {
        if self.sequence.is_some() && self.is_possibly_written() {
            return;
        }
        let before = self.len();
        self.records.retain(PendingRecord::is_awaited);
        if self.len() < before {
            self.sequence = None;
        }
    }

    /// Answers all callers: the first record is at that offset, if that is known, and the others follow.
    pub(super) fn acknowledge(self, partition: i32, first: Option<i64>) {
        for (mut pending, index) in self.records.into_iter().zip(0..) {
            pending.answer(Ok(Receipt { partition, offset: first.map(|first| first + index) }));
        }
    }

    /// Answers all callers: Kafka refused the records.
    pub(super) fn refuse(mut self, error: &PublishError) {
        self.records.iter_mut().for_each(|pending| pending.refuse(error));
    }

    /// Notes that an attempt ended without a response.
    pub(super) fn mark_unanswered(&mut self) {
        self.records.iter_mut().for_each(|pending| pending.possibly_written = true);
    }

    /// Splits it in two halves, in order. Each record keeps its number (`ProducerBatch.split` in Java).
    pub(super) fn split(mut self) -> (Self, Self) {
        let records = self.records.split_off(self.len() / 2);
        let sequence = self.sequence.map(|sequence| sequence.after(self.len()));
        (self, Self { records, sequence })
    }
}
