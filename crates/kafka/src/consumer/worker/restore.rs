//! What was processed before comes into the projection again.

use std::ops::Range;

use log::info;

use super::{CommittedOffset, Interrupt, Worker};
use crate::{Record, TransientError, backoff::Backoff};

/// How much farther back each further look for older records reaches.
const LOOKBACK_FACTOR: i64 = 4;

impl Worker {
    /// Fills the projection with what was processed before, up to what is committed or the log's end: from just where
    /// it began when that was committed, so that it is what it was, whatever copies the log has had since; as far
    /// back as the handler wants where that is not known. What a kept partition has already is not read again. `range`
    /// is what the log has now.
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
            match self.progress.projected() {
                Some(projected) if (range.start..=range.end).contains(&projected) => {
                    self.replay(projected, target).await?;
                    return Ok(());
                }
                // The log is not the one that the projection was made of, or has lost the part between.
                Some(_) => self.forget().await,
                None => {}
            }
            // Beyond the log's end, it was said of another log.
            let held_from = committed.held_from.filter(|held_from| *held_from <= target);
            let from = held_from.unwrap_or_else(|| target.saturating_sub(lookback)).max(range.start);
            match self.replay(from, target).await {
                Ok(true) => {}
                Ok(false) => {
                    self.forget().await; // the log's start moved past us: look again
                    range = self.range().await?;
                    continue;
                }
                Err(interrupt) => {
                    self.forget().await; // half a projection is not to be taken for a whole one
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
        // First: should this be cut short, nobody takes for whole what is half forgotten.
        self.progress.set_projected(None);
        let _call = self.progress.begin_call();
        self.handler.forget(self.partition).await;
    }

    /// Hands the records of a stretch of the log to the projection; false when the log no longer has it.
    async fn replay(&mut self, from: i64, to: i64) -> Result<bool, Interrupt> {
        let mut position = from;
        self.progress.set_projected(Some(position));
        while position < to {
            let Some(mut fetched) = self.read(position).await? else { return Ok(false) };
            if fetched.next == position && fetched.end <= position {
                break; // the log ends before the committed offset
            }
            fetched.records.retain(|record| record.offset < to);
            let mut backoff = Backoff::new();
            while let Err(passing) = self.restore_records(&fetched.records).await {
                self.stall(format!("restoring from offset {position}: {passing}"));
                self.back_off(&mut backoff).await?;
            }
            self.progress.set_stalled(None);
            position = fetched.next.min(to);
            self.progress.set_projected(Some(position));
        }
        Ok(true)
    }

    async fn restore_records(&self, records: &[Record]) -> Result<(), TransientError> {
        let _call = self.progress.begin_call();
        self.handler.restore(records).await
    }
}
