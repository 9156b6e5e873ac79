//! Restoring: records that were processed before go into the projection again.

use std::ops::Range;

use log::info;

use super::{CommittedOffset, Interrupt, Interrupt::Stopping, Read, Worker};
use crate::{FetchPosition, LeaderEpochs, Record, TransientError, backoff::Backoff};

/// The factor by which each further look for older records reaches back.
const LOOKBACK_FACTOR: i64 = 4;

impl Worker {
    /// Restores the projection up to the committed offset, or up to the end of the records before it that the log still has.
    pub(super) async fn restored(
        &mut self,
        committed: CommittedOffset,
        range: Range<i64>,
    ) -> Result<FetchPosition, Interrupt> {
        let mut start = self.validate(committed.position(), &committed.epochs(), committed.offset).await?;
        loop {
            self.restore(CommittedOffset { offset: start.offset, ..committed }, range.clone()).await?;
            // The log may have been truncated meanwhile. Records that were restored after the truncation are not processed yet.
            let now = self.validate(start, &LeaderEpochs::before(start), start.offset).await?;
            if now == start {
                return Ok(start);
            }
            self.forget().await;
            start = now;
        }
    }

    /// Makes the handler load its state of the partition, for as long as that takes.
    pub(super) async fn load(&self) -> Result<(), Interrupt> {
        let mut backoff = Backoff::new();
        loop {
            self.wait_for_lease().await?;
            let loaded = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stopping),
                loaded = self.handler.load(self.partition) => loaded,
            };
            match loaded {
                Ok(true) => return Ok(()),
                Ok(false) => self.forget().await,
                Err(error) => {
                    self.stall(format!("before its start is known: {error}"));
                    self.back_off(&mut backoff).await?;
                }
            }
        }
    }

    /// Fills the projection up to the committed offset or the log's end. It begins at `held_from` if that was committed, so
    /// that the projection is the same as before, whatever the log has had since; else at the handler's window. A kept
    /// projection goes on from its end, if the log still has that. `range` has the current offsets of the log.
    pub(super) async fn restore(
        &mut self,
        committed: CommittedOffset,
        mut range: Range<i64>,
    ) -> Result<(), Interrupt> {
        let window = i64::try_from(self.handler.restore_window()).unwrap_or(i64::MAX);
        if window == 0 {
            return Ok(());
        }
        let mut lookback = window;
        loop {
            let target = committed.offset.min(range.end);
            if let Some(projected) = self.progress.projected() {
                if (range.start..=range.end).contains(&projected.offset)
                    && self.replay(projected, target).await?
                {
                    return Ok(());
                }
                // The log is another one, or has lost the records between.
                self.forget().await;
            }
            // Beyond the log's end, it is of another log.
            let held_from = committed.held_from.filter(|held_from| *held_from <= target);
            let from = held_from.unwrap_or_else(|| target.saturating_sub(lookback)).max(range.start);
            match self.replay(from.into(), target).await {
                Ok(true) => {}
                Ok(false) => {
                    self.forget().await; // the log's start has passed that offset: begin again
                    range = self.range().await?;
                    continue;
                }
                Err(interrupt) => {
                    self.forget().await; // a projection that is half restored counts as none
                    return Err(interrupt);
                }
            }
            if held_from.is_some() || from == range.start || !self.wants_older().await {
                if from < target {
                    info!("partition {}: restored from offset {from} to {target}", self.partition);
                }
                return Ok(());
            }
            self.forget().await;
            lookback = lookback.saturating_mul(LOOKBACK_FACTOR);
            range = self.range().await?;
        }
    }

    async fn wants_older(&self) -> bool {
        let _call = self.progress.begin_call();
        self.handler.wants_older(self.partition).await
    }

    pub(super) async fn forget(&self) {
        // This comes first: if the call is cut short, a half-dropped projection does not count as one.
        self.progress.set_projected(None);
        let _call = self.progress.begin_call();
        self.handler.forget(self.partition).await;
    }

    /// Passes a stretch of the log to the projection; false if the log no longer has it.
    async fn replay(&mut self, from: FetchPosition, to: i64) -> Result<bool, Interrupt> {
        let mut position = from;
        self.progress.set_projected(Some(position));
        while position.offset < to {
            let Read::Fetched(mut fetched) = self.read(position).await? else { return Ok(false) };
            if fetched.next == position.offset && fetched.end <= position.offset {
                break; // the log ends before the committed offset
            }
            fetched.records.retain(|record| record.offset < to);
            let mut backoff = Backoff::new();
            while let Err(passing) = self.restore_records(&fetched.records).await {
                self.stall(format!("restoring from offset {}: {passing}", position.offset));
                self.back_off(&mut backoff).await?;
            }
            self.progress.set_stalled(None);
            position = fetched.position_at(fetched.next.min(to), position);
            self.progress.set_projected(Some(position));
        }
        Ok(true)
    }

    async fn restore_records(&self, records: &[Record]) -> Result<(), TransientError> {
        let _call = self.progress.begin_call();
        self.handler.restore(records).await
    }
}
