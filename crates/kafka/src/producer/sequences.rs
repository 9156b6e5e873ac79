//! The numbers of a partition's records, by which brokers recognise a batch that is sent again (KIP-98; `TransactionManager`
//! and `TxnPartitionEntry` in Java).
//!
//! A number that was sent stands for its record as long as the epoch lasts. So a batch that may be in the log is sent again
//! whole and with its numbers: the broker appends it, finds that it has it, or refuses the numbers. A batch that is surely
//! not in the log gets numbers anew if it has changed. If numbers were sent and not acknowledged, a new epoch begins before
//! other records are sent, which also fences attempts that are still on their way (KIP-360).
//!
//! Java's producer has one epoch for all partitions. Brokers count by partition, so here each partition has its own, and
//! none waits for another.

use super::batch::ProducerBatch;
use crate::wire::BatchSequence;

/// The numbers of one partition.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    /// The sequence of the next batch; `None` without a producer id.
    next: Option<BatchSequence>,
    /// `next` was given to a batch that is not acknowledged yet.
    is_taken: bool,
    /// The producer id that is used no more.
    spent: Option<i64>,
}

impl Sequences {
    /// Whether a producer id is needed, because there is none or because its last epoch is used up.
    pub(super) fn need_id(&mut self) -> bool {
        if self.is_taken && self.next.is_some_and(|next| next.epoch == i16::MAX) {
            self.leave_id();
        }
        self.next.is_none()
    }

    /// Uses the producer id no more.
    pub(super) fn leave_id(&mut self) {
        if let Some(next) = self.next.take() {
            self.spent = Some(next.producer_id);
        }
        self.is_taken = false;
    }

    /// The producer id that is used no more.
    pub(super) fn spent(&self) -> Option<i64> {
        self.spent
    }

    /// Begins with that producer id, or goes without.
    pub(super) fn begin(&mut self, producer_id: Option<i64>) {
        self.next = producer_id.map(|producer_id| BatchSequence { producer_id, epoch: 0, first: 0 });
        self.is_taken = false;
    }

    /// Gives a batch its sequence before it is sent. A batch that may be in the log keeps the one that it was sent with.
    pub(super) fn number(&mut self, batch: &mut ProducerBatch) {
        if batch.is_possibly_written() {
            return;
        }
        if batch.sequence.is_none() || batch.sequence != self.next {
            if self.is_taken {
                self.next = self.next.map(|next| BatchSequence { epoch: next.epoch + 1, first: 0, ..next });
            }
            batch.sequence = self.next;
        }
        self.is_taken = self.next.is_some();
    }

    /// The broker has the batch.
    pub(super) fn acknowledged(&mut self, batch: &ProducerBatch) {
        let is_of = |next: &BatchSequence, sequence: &BatchSequence| {
            (next.producer_id, next.epoch) == (sequence.producer_id, sequence.epoch)
        };
        if let (Some(next), Some(sequence)) = (&mut self.next, batch.sequence)
            && is_of(next, &sequence)
        {
            *next = sequence.after(batch.len());
            self.is_taken = false;
        }
    }
}
