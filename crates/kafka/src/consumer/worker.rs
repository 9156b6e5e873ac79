//! One partition's work: restore its projection, then read, handle, mark done.

mod losses;
mod process;
mod restore;

use std::{convert::Infallible, fmt::Display, ops::Range, sync::Arc, time::Duration};

use log::{error, warn};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    CommittedOffset, Progress,
    reader::{ReadError, Reader},
};
use crate::{
    ConsumerCounts, OffsetReset, RecordHandler, StatusRegistry,
    backoff::Backoff,
    dead_letter::DlqPublisher,
    group::Lease,
    sabotage::{self, Sabotage},
    wire::Fetched,
};

pub(super) use process::BatchSizer;

/// A partition that is read to its end is not read again sooner: under load, what is written meanwhile comes
/// in one answer in place of many, which costs the broker and us a fraction; in quiet, the broker holds the
/// fetch for longer than this anyway and answers at the first record.
const IDLE_FETCH_INTERVAL: Duration = Duration::from_millis(20);
/// How long a worker without a lease waits before it looks again.
const LEASE_POLL: Duration = Duration::from_millis(20);
/// How much later a batch is processed that was committed before.
const SABOTAGE_REST: Duration = Duration::from_secs(1);

/// Works one partition for as long as it is this member's.
pub(super) struct Worker {
    pub(super) partition: i32,
    pub(super) reader: Reader,
    pub(super) handler: Arc<dyn RecordHandler>,
    pub(super) dead_letters: DlqPublisher,
    pub(super) progress: Progress,
    pub(super) lease: Lease,
    pub(super) registry: Arc<StatusRegistry>,
    pub(super) reset: OffsetReset,
    pub(super) stop: CancellationToken,
    /// Told when the start is resolved: it is to be committed at once.
    pub(super) started: mpsc::Sender<()>,
    /// The part of the registry that is this worker's.
    pub(super) part: String,
    pub(super) counts: Arc<ConsumerCounts>,
    /// How many records the handler gets at a time.
    pub(super) batch_sizer: BatchSizer,
}

/// Why it does not go on with what it was at.
enum Interrupt {
    /// The partition is given up: the worker ends.
    Stopping,
    /// The topic was deleted and made again: what is known is of a topic that is no more.
    TopicRecreated,
}
use Interrupt::{Stopping, TopicRecreated};

impl Worker {
    /// Until it is told to stop. What is under way is finished first.
    pub(super) async fn run(mut self, committed: Option<CommittedOffset>) {
        let mut interrupted = self.work(committed).await;
        while let Err(TopicRecreated) = interrupted {
            interrupted = match self.restart().await {
                Ok(beginning) => self.work(Some(beginning)).await,
                Err(interrupt) => Err(interrupt),
            };
        }
    }

    async fn work(&mut self, committed: Option<CommittedOffset>) -> Result<Infallible, Interrupt> {
        let range = self.range().await?;
        self.check_topic(committed).await?;
        let mut position = match committed {
            Some(committed) => {
                self.restore(committed, range).await?;
                committed.offset
            }
            None => self.start_offset(&range),
        };
        self.progress.start_at(position);
        let _committed_soon_anyway = self.started.try_send(());
        loop {
            let began = Instant::now();
            match self.read(position).await? {
                Some(fetched) => {
                    self.progress.set_end(fetched.end);
                    if sabotage::is(Sabotage::CommitBeforeProcessing) {
                        self.progress.done(position..fetched.next);
                        self.idle_until(began + SABOTAGE_REST).await?;
                    }
                    self.process(position, fetched.records, fetched.next).await?;
                    if fetched.next == position {
                        self.progress.found_nothing();
                    }
                    position = fetched.next;
                    if position == fetched.end {
                        self.idle_until(began + IDLE_FETCH_INTERVAL).await?;
                    }
                }
                None => {
                    let range = self.range().await?;
                    let resolved = self.reset_offset(&range);
                    self.report_reset(position, resolved);
                    position = resolved;
                    self.progress.start_at(position);
                }
            }
        }
    }

    /// Of what is known from before only what is of the topic that there is now is of use.
    async fn check_topic(&mut self, committed: Option<CommittedOffset>) -> Result<(), Interrupt> {
        let now = self.reader.topic_id();
        let is_another = |known: Option<Uuid>| known.zip(now).is_some_and(|(known, now)| known != now);
        let was_another = is_another(self.progress.topic());
        if committed.map_or(was_another, |committed| is_another(committed.topic)) {
            return Err(TopicRecreated);
        }
        if was_another {
            self.forget().await;
        }
        self.progress.set_topic(now);
        Ok(())
    }

    /// Drops what was of a topic that is no more; the beginning of the one that has its name now.
    async fn restart(&mut self) -> Result<CommittedOffset, Interrupt> {
        self.reader.restart();
        self.forget().await;
        let range = self.range().await?;
        let topic = self.reader.topic_id();
        self.progress.restart(topic, range.end);
        self.report_recreation(topic);
        Ok(CommittedOffset { offset: range.start, held_from: None, topic })
    }

    /// Where this process was when it could not commit it; else where the rule says.
    fn start_offset(&self, range: &Range<i64>) -> i64 {
        let reached = self.progress.projected().filter(|reached| (range.start..=range.end).contains(reached));
        reached.unwrap_or_else(|| self.reset_offset(range))
    }

    /// Where to start by rule, there being no usable committed offset.
    fn reset_offset(&self, range: &Range<i64>) -> i64 {
        match self.reset {
            OffsetReset::Earliest => range.start,
            OffsetReset::Latest => range.end,
        }
    }

    /// The offsets that the log has now, asked until they are known.
    async fn range(&mut self) -> Result<Range<i64>, Interrupt> {
        let mut backoff = Backoff::new();
        loop {
            let asked = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stopping),
                asked = self.reader.range() => asked,
            };
            match asked {
                Ok(range) => {
                    self.registry.succeeded(&self.part);
                    self.progress.set_end(range.end);
                    return Ok(range);
                }
                Err(ReadError::TopicRecreated) => return Err(TopicRecreated),
                Err(error) => self.retry(&error, &mut backoff).await?,
            }
        }
    }

    /// Reads until there is something, or `None` when the offset is out of range.
    async fn read(&mut self, from: i64) -> Result<Option<Fetched>, Interrupt> {
        let mut backoff = Backoff::new();
        loop {
            let read = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stopping),
                read = self.reader.read(from) => read,
            };
            match read {
                Ok(fetched) => {
                    self.registry.succeeded(&self.part);
                    self.progress.set_stalled(None);
                    return Ok(Some(fetched));
                }
                Err(ReadError::OutOfRange) => return Ok(None),
                Err(ReadError::TopicRecreated) => return Err(TopicRecreated),
                Err(ReadError::Undecodable(reason)) => {
                    let reason = format!("cannot go on at offset {from}: {reason}");
                    if self.progress.set_stalled(Some(reason.clone())) {
                        error!("partition {} is stalled: {reason}", self.partition);
                    }
                    self.back_off(&mut backoff).await?;
                }
                Err(error @ ReadError::Transient(_)) => self.retry(&error, &mut backoff).await?,
            }
        }
    }

    /// Waits while it is not sure that the partition is still ours.
    async fn wait_for_lease(&self) -> Result<(), Interrupt> {
        while !self.lease.is_valid() {
            tokio::select! {
                () = self.stop.cancelled() => return Err(Stopping),
                () = tokio::time::sleep(LEASE_POLL) => {}
            }
        }
        Ok(())
    }

    /// Says once why the partition does not go on.
    fn stall(&self, reason: String) {
        if self.progress.set_stalled(Some(reason.clone())) {
            warn!("partition {} is stalled {reason}; trying again", self.partition);
        }
    }

    async fn retry(&self, error: &(dyn Display + Sync), backoff: &mut Backoff) -> Result<(), Interrupt> {
        self.registry.failed(&self.part, error);
        self.back_off(backoff).await
    }

    async fn idle_until(&self, moment: Instant) -> Result<(), Interrupt> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopping),
            () = sleep_until(moment) => Ok(()),
        }
    }

    async fn back_off(&self, backoff: &mut Backoff) -> Result<(), Interrupt> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopping),
            () = backoff.wait() => Ok(()),
        }
    }
}

impl Drop for Worker {
    /// However it ends, what it saw of the cluster counts no longer.
    fn drop(&mut self) {
        self.registry.withdraw(&self.part);
    }
}
