//! The records that wait behind the batch in flight.

use std::collections::VecDeque;

use tokio::{sync::mpsc, time::Instant};

use super::batch::{PendingRecord, ProducerBatch};
use crate::PublishError;

/// The records of one partition that are not sent yet (`RecordAccumulator` in Java).
#[derive(Debug)]
pub(super) struct BatchAccumulator {
    receiver: mpsc::UnboundedReceiver<PendingRecord>,
    waiting: VecDeque<PendingRecord>,
    max_batch_bytes: usize,
}

impl BatchAccumulator {
    pub(super) fn new(receiver: mpsc::UnboundedReceiver<PendingRecord>, max_batch_bytes: usize) -> Self {
        Self { receiver, waiting: VecDeque::new(), max_batch_bytes }
    }

    /// Whether no record waits, as far as they were received.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits until there is a record; false once all senders are gone and no record is left. Cancel safe.
    pub(super) async fn ready(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.receiver.recv().await {
                Some(pending) => self.waiting.push_back(pending),
                None => return false,
            }
        }
        true
    }

    /// Takes the next batch: the waiting records, up to the bound. One record always fits.
    pub(super) fn drain(&mut self) -> ProducerBatch {
        let mut batch = ProducerBatch::default();
        self.top_up(&mut batch);
        batch
    }

    /// Adds the records that came since the batch was taken, up to the bound.
    pub(super) fn top_up(&mut self, batch: &mut ProducerBatch) {
        self.receive();
        let mut bytes: usize = batch.bytes();
        let fit = self.waiting.iter().enumerate().take_while(|(index, pending)| {
            bytes += pending.bytes();
            bytes <= self.max_batch_bytes || (*index == 0 && batch.len() == 0)
        });
        let count = fit.count();
        batch.extend(self.waiting.drain(..count));
    }

    /// Answers the callers whose deadline has passed. The oldest records are in front.
    pub(super) fn expire(&mut self, now: Instant, reason: &str) {
        self.receive();
        while self.waiting.front().is_some_and(|pending| pending.is_expired(now)) {
            if let Some(mut pending) = self.waiting.pop_front() {
                pending.expire(now, false, reason);
            }
        }
    }

    /// Answers all callers with that error: their records are not sent.
    pub(super) fn refuse(&mut self, error: &PublishError) {
        self.receive();
        self.waiting.drain(..).for_each(|mut pending| pending.refuse(error));
    }

    fn receive(&mut self) {
        while let Ok(pending) = self.receiver.try_recv() {
            self.waiting.push_back(pending);
        }
    }
}
