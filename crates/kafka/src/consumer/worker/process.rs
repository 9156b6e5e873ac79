//! Processing: records go to the handler in batches, and its outcome to the progress.

use std::{ops::Range, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use log::{info, warn};
use tokio::time::Instant;

use super::{
    Interrupt,
    Interrupt::{PositionUnknown, Stopping},
    Worker,
};
use crate::{BatchLimits, Poison, PublishError, Record, backoff::Backoff};

/// The number of records in a call: one at first, then as many as the handler handles in [`BatchLimits::duration`]. So a
/// slow handler can finish its batch, and each finished record counts.
#[derive(Debug, Clone, Copy)]
pub(in crate::consumer) struct BatchSizer(usize);

impl Default for BatchSizer {
    fn default() -> Self {
        Self(1)
    }
}

impl BatchSizer {
    /// The size of the next batch, out of `records` available records.
    fn next_size(self, records: usize) -> usize {
        records.min(self.0)
    }

    /// Adjusts the size to the duration of a call with `records` records.
    fn record_call(&mut self, records: usize, lasted: Duration, limits: BatchLimits) {
        if lasted > limits.duration {
            let fit = records as f64 * limits.duration.as_secs_f64() / lasted.as_secs_f64();
            self.0 = (fit as usize).clamp(1, limits.records);
        } else if records == self.0 && lasted < limits.duration / 4 {
            self.0 = (self.0 * 2).min(limits.records);
        }
    }
}

/// The interval between two checks whether the consumer has committed.
const COMMIT_POLL: Duration = Duration::from_millis(5);

impl Worker {
    /// Handles the records that were read at `from`, batch by batch. Everything below `next` is done when it returns.
    pub(super) async fn process(
        &mut self,
        from: i64,
        records: Vec<Record>,
        next: i64,
    ) -> Result<(), Interrupt> {
        let (mut from, mut rest) = (from, records.as_slice());
        while !rest.is_empty() {
            if self.stop.is_cancelled() {
                return Err(Stopping);
            }
            self.wait_for_lease().await?;
            let batch = &rest[..self.batch_sizer.next_size(rest.len())];
            let began = Instant::now();
            let mut outcome = {
                let _call = self.progress.begin_call();
                self.handler.handle(batch).await
            };
            self.batch_sizer.record_call(batch.len(), began.elapsed(), self.handler.batch_limits());
            let handled =
                outcome.retry_from.as_ref().map_or(batch.len(), |retry| retry.index.min(batch.len()));
            // Records from there on are handled again, poison or not.
            outcome.poison.retain(|poison| poison.index < handled);
            outcome.poison.sort_unstable_by_key(|poison| poison.index);
            outcome.poison.dedup_by_key(|poison| poison.index);
            let upto = rest.get(handled).map_or(next, |record| record.offset);
            self.complete(from..upto, &rest[..handled], &outcome.poison).await?;
            self.counts.records.add(handled as u64);
            if handled > 0 {
                self.backoff = Backoff::new();
            }
            (from, rest) = (upto, &rest[handled..]);
            match outcome.retry_from {
                None if rest.is_empty() => break,
                None => tokio::task::yield_now().await,
                Some(retry) => {
                    self.stall(format!("at offset {from}: {}", retry.error));
                    self.pause().await?;
                    if self.handler_has_position {
                        return Err(PositionUnknown);
                    }
                    self.give_turn().await?;
                }
            }
        }
        if self.progress.set_stalled(None) {
            info!("partition {} resumes", self.partition);
        }
        if from < next {
            self.complete(from..next, &[], &[]).await?;
        }
        Ok(())
    }

    /// Gives the handler a turn if it wants one, after the done records are committed.
    pub(super) async fn give_turn(&self) -> Result<(), Interrupt> {
        if !self.handler.wants_turn(self.partition) {
            return Ok(());
        }
        let _committed_soon_anyway = self.started.try_send(());
        while self.progress.to_commit().is_some() {
            self.idle_until(Instant::now() + COMMIT_POLL).await?;
        }
        self.wait_for_lease().await?;
        if let Some(committed) = self.progress.processed() {
            let _call = self.progress.begin_call();
            self.handler.take_turn(self.partition, committed.offset, &self.lease).await;
        }
        Ok(())
    }

    /// Marks a handled stretch done: its poison once the dead letter topic has it, the rest at once. For a handler that
    /// stores its position, all of the stretch is done once that position is at its end: the committed offset never passes
    /// it.
    async fn complete(
        &mut self,
        stretch: Range<i64>,
        records: &[Record],
        poison: &[Poison],
    ) -> Result<(), Interrupt> {
        if !self.handler_has_position {
            let mut start = stretch.start;
            for poisoned in poison {
                let offset = records[poisoned.index].offset;
                self.progress.done(start..offset);
                start = offset + 1;
            }
            self.progress.done(start..stretch.end);
        }
        let mut dead_letters: FuturesUnordered<_> =
            poison.iter().map(|poisoned| self.send_to_dlq(&records[poisoned.index], poisoned)).collect();
        let mut is_any_refused = false;
        while let Some(sent) = dead_letters.next().await {
            match sent? {
                Some(offset) if !self.handler_has_position => self.progress.done(offset..offset + 1),
                Some(_) => {}
                None => is_any_refused = true,
            }
        }
        drop(dead_letters);
        if is_any_refused {
            // The records after it are not to be handled again and again with it.
            self.batch_sizer = BatchSizer::default();
            self.pause().await?;
            return Err(PositionUnknown);
        }
        // Markers of transactions are in no batch, nor are records of aborted ones.
        let is_beyond_batch = records.last().is_none_or(|last| last.offset + 1 < stretch.end);
        if (!poison.is_empty() || self.handler_has_position && is_beyond_batch)
            && let Err(error) = {
                let _call = self.progress.begin_call();
                let position = self.progress.position_at(stretch.end);
                self.handler.completed(self.partition, position).await
            }
        {
            self.stall(format!("at offset {}: {error}", stretch.end));
            return Err(PositionUnknown);
        }
        if self.handler_has_position {
            self.progress.done(stretch);
        }
        Ok(())
    }

    /// Sends a dead letter until the topic has it. Returns the offset of its record. `None` if a waiting one is too large:
    /// it may be processed once the dead letter before it is redriven or dropped.
    async fn send_to_dlq(&self, record: &Record, poison: &Poison) -> Result<Option<i64>, Interrupt> {
        let Poison { reason, place, .. } = poison;
        let waits = place.as_ref().is_some_and(|place| place.behind.is_some());
        if !waits {
            warn!(
                partition = record.partition, offset = record.offset;
                "malformed record goes to the dead letters: {reason}"
            );
        }
        let mut backoff = Backoff::new();
        loop {
            self.wait_for_lease().await?;
            // A stop does not cut it short: it has a deadline, and a dead letter that is written need not be written
            // again.
            match self.dead_letters.send(record, reason, place.as_ref()).await {
                Ok(_) => {
                    self.counts.dead_letters.add(1);
                    self.progress.set_stalled(None);
                    return Ok(Some(record.offset));
                }
                Err(error) => {
                    self.stall(format!("at offset {}: no dead letter: {error}", record.offset));
                    if waits && matches!(error, PublishError::TooLarge(_)) {
                        return Ok(None);
                    }
                    self.back_off(&mut backoff).await?;
                }
            }
        }
    }
}
