//! The worker of one partition: it restores the projection, then reads, handles and marks done.

mod losses;
mod process;
mod restore;

use std::{convert::Infallible, fmt::Display, ops::Range, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use log::{error, warn};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CommittedOffset, Progress, read_error::ReadError, reader::Reader};
use crate::{
    ConsumerCounts, FetchPosition, LeaderEpochs, LogState, OffsetReset, RecordHandler, StartFrom,
    StatusRegistry, TransientError, backoff::Backoff, dead_letter::DlqPublisher, group::Lease, wire::Fetched,
};

pub(super) use process::BatchSizer;

/// The least interval between two reads at the end of the log. Under load one answer then brings many records;
/// otherwise the broker holds the fetch for longer than this and answers at the first record.
const IDLE_FETCH_INTERVAL: Duration = Duration::from_millis(20);
/// The interval at which a worker without a lease checks it.
const LEASE_POLL: Duration = Duration::from_millis(20);

/// Processes one partition while it is assigned to this member.
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
    /// Signalled when the start is resolved, which is to be committed at once.
    pub(super) started: mpsc::Sender<()>,
    /// The worker's component of the status registry.
    pub(super) part: String,
    pub(super) counts: Arc<ConsumerCounts>,
    /// The number of records that the handler gets in a call.
    pub(super) batch_sizer: BatchSizer,
    /// The backoff between the handler's failures; it begins anew once something is handled.
    pub(super) backoff: Backoff,
    /// Whether the handler stores its position itself.
    pub(super) handler_has_position: bool,
}

/// The outcome of a read.
enum Read {
    Fetched(Fetched),
    OutOfRange,
    /// The log has lost records that were read; it has them up to this position, where that is known.
    Truncated(Option<FetchPosition>),
}

/// The reason why the current work ends early.
enum Interrupt {
    /// The partition is revoked, and the worker ends.
    Stopping,
    /// The topic was deleted and recreated: its offsets and its projection are invalid.
    TopicRecreated,
    /// The handler has a position of its own, which is to be asked for again.
    PositionUnknown,
}
use Interrupt::{PositionUnknown, Stopping, TopicRecreated};

impl Worker {
    /// Runs until it is stopped, and finishes its current batch first.
    pub(super) async fn run(mut self, committed: Option<CommittedOffset>) {
        let mut start = committed;
        loop {
            let Err(interrupt) = self.work(start).await;
            start = match interrupt {
                Stopping => return,
                PositionUnknown => self.progress.processed().or(start),
                TopicRecreated => match self.restart().await {
                    None => return,
                    beginning => beginning,
                },
            };
        }
    }

    async fn work(&mut self, committed: Option<CommittedOffset>) -> Result<Infallible, Interrupt> {
        let range = self.range().await?;
        self.check_topic(committed).await?;
        let mut position = self.position(committed, range).await?;
        self.progress.start_at(position);
        let _committed_soon_anyway = self.started.try_send(());
        loop {
            if self.handler_has_position && !self.handler.position_counts(self.partition) {
                return Err(PositionUnknown);
            }
            self.give_turn().await?;
            let began = Instant::now();
            match self.read(position).await? {
                Read::Fetched(fetched) => {
                    self.progress.set_end(fetched.end);
                    self.progress.read(&fetched.epochs);
                    let next = fetched.next_position(position);
                    self.process(position.offset, fetched.records, fetched.next).await?;
                    if next.offset == position.offset {
                        self.progress.found_nothing();
                    }
                    position = next;
                    if position.offset == fetched.end {
                        self.idle_until(began + IDLE_FETCH_INTERVAL).await?;
                    }
                }
                Read::OutOfRange => {
                    let range = self.range().await?;
                    let resolved = self.reset_offset(&range);
                    self.report_reset(position.offset, resolved);
                    position = resolved.into();
                    self.reset_handler(position).await?;
                    self.progress.start_at(position);
                }
                Read::Truncated(end) => {
                    position = self.follow_truncation(end, position.offset).await?;
                    self.reset_handler(position).await?;
                    self.progress.start_at(position);
                }
            }
        }
    }

    /// Reports the records before `read_to` that the log has lost. Returns the position to go on from, the end of the
    /// others.
    async fn follow_truncation(
        &mut self,
        end: Option<FetchPosition>,
        read_to: i64,
    ) -> Result<FetchPosition, Interrupt> {
        let end = match end {
            Some(end) => self.progress.common_end(end),
            None => {
                let range = self.range().await?;
                self.reset_offset(&range).into()
            }
        };
        let lost = end.offset..read_to;
        self.report_truncation(&lost);
        let _call = self.progress.begin_call();
        self.handler.truncated(self.partition, lost).await;
        Ok(end)
    }

    /// Asks until it is known whether the log has the records before `position`. If it has, returns the position with the
    /// epoch of the record before it. If not, reports the records up to `read_to` that it has lost, and returns the position
    /// to go on from.
    async fn validate(
        &mut self,
        position: FetchPosition,
        records: &LeaderEpochs,
        read_to: i64,
    ) -> Result<FetchPosition, Interrupt> {
        let mut backoff = Backoff::new();
        loop {
            let validated = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stopping),
                validated = self.reader.validate(position, records) => validated,
            };
            match validated {
                Ok(known) => return Ok(known),
                Err(ReadError::Truncated(end)) => return self.follow_truncation(end, read_to).await,
                Err(ReadError::TopicRecreated) => return Err(TopicRecreated),
                Err(error) => self.retry(&error, &mut backoff).await?,
            }
        }
    }

    /// The start: the handler's own position if it stores one, else the group's committed offset.
    async fn position(
        &mut self,
        committed: Option<CommittedOffset>,
        range: Range<i64>,
    ) -> Result<FetchPosition, Interrupt> {
        let log = LogState { topic_id: self.reader.topic_id(), offsets: range.clone() };
        let start = self.ask_handler(|| self.handler.start_from(self.partition, &log)).await?;
        self.load().await?;
        self.handler_has_position = start != StartFrom::Committed;
        match (start, committed) {
            (StartFrom::Committed, None) => Ok(self.start_position(&range)),
            (StartFrom::Committed, Some(committed)) => self.restored(committed, range).await,
            (StartFrom::Position(position), committed) => {
                // The committed offset follows the handler's position, and has the leader epoch.
                let committed = committed.filter(|committed| committed.offset <= position.offset);
                let (known, records) = match committed.filter(|_| position.leader_epoch.is_none()) {
                    Some(committed) => (committed.position(), committed.epochs()),
                    None => (position, LeaderEpochs::before(position)),
                };
                let start = self.validate(known, &records, position.offset).await?;
                if start.offset == known.offset {
                    let leader_epoch = start.leader_epoch.filter(|_| known.offset == position.offset);
                    return Ok(FetchPosition { leader_epoch, ..position });
                }
                self.reset_handler(start).await?;
                Ok(start)
            }
            (StartFrom::Reset, _) => {
                let position = self.reset_offset(&range).into();
                self.reset_handler(position).await?;
                Ok(position)
            }
        }
    }

    /// Tells the handler the position at which processing goes on.
    async fn reset_handler(&self, position: FetchPosition) -> Result<(), Interrupt> {
        self.ask_handler(|| self.handler.reset_to(self.partition, position)).await
    }

    /// Asks the handler until it answers, as long as the partition is certainly ours.
    async fn ask_handler<'a, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'a, Result<T, TransientError>>,
    ) -> Result<T, Interrupt> {
        let mut backoff = Backoff::new();
        loop {
            self.wait_for_lease().await?;
            let answer = {
                let _call = self.progress.begin_call();
                ask().await
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.stall(format!("before its start is known: {error}"));
                    self.back_off(&mut backoff).await?;
                }
            }
        }
    }

    /// Checks that the committed offset and the projection belong to the topic that has the name now.
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

    /// Drops the state of a topic that was deleted. Returns the beginning of the topic that has its name now; `None` if the
    /// partition is revoked meanwhile.
    async fn restart(&mut self) -> Option<CommittedOffset> {
        self.forget().await;
        let range = loop {
            self.reader.restart();
            match self.range().await {
                Ok(range) => break range,
                Err(Stopping) => return None,
                // The next topic of that name is deleted, too. It counts as the same loss.
                Err(TopicRecreated | PositionUnknown) => {}
            }
        };
        let topic = self.reader.topic_id();
        self.progress.restart(topic, range.end);
        self.report_recreation(topic);
        Some(CommittedOffset { offset: range.start, leader_epoch: None, held_from: None, topic })
    }

    /// The start without a committed offset: the position that this process reached before it could commit, else by
    /// `OffsetReset`.
    fn start_position(&self, range: &Range<i64>) -> FetchPosition {
        let is_there = |reached: &FetchPosition| (range.start..=range.end).contains(&reached.offset);
        self.progress.projected().filter(is_there).unwrap_or_else(|| self.reset_offset(range).into())
    }

    /// The start by `OffsetReset`.
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

    /// Reads until there are records, or the log does not have them.
    async fn read(&mut self, from: FetchPosition) -> Result<Read, Interrupt> {
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
                    return Ok(Read::Fetched(fetched));
                }
                Err(ReadError::OutOfRange) => return Ok(Read::OutOfRange),
                Err(ReadError::Truncated(end)) => return Ok(Read::Truncated(end)),
                Err(ReadError::TopicRecreated) => return Err(TopicRecreated),
                Err(ReadError::Undecodable(reason)) => {
                    let reason = format!("cannot go on at offset {}: {reason}", from.offset);
                    if self.progress.set_stalled(Some(reason.clone())) {
                        error!("partition {} is stalled: {reason}", self.partition);
                    }
                    self.back_off(&mut backoff).await?;
                }
                Err(error @ ReadError::Transient(_)) => self.retry(&error, &mut backoff).await?,
            }
        }
    }

    /// Waits until the lease is valid.
    async fn wait_for_lease(&self) -> Result<(), Interrupt> {
        while !self.lease.is_valid() {
            tokio::select! {
                () = self.stop.cancelled() => return Err(Stopping),
                () = tokio::time::sleep(LEASE_POLL) => {}
            }
        }
        Ok(())
    }

    /// Sets the reason why the partition is stalled, and logs it once.
    fn stall(&self, reason: String) {
        if self.progress.set_stalled(Some(reason.clone())) {
            warn!("partition {} is stalled {reason}; trying again", self.partition);
        }
    }

    async fn retry(&self, error: &(dyn Display + Sync), backoff: &mut Backoff) -> Result<(), Interrupt> {
        self.registry.failed(&self.part, error);
        self.back_off(backoff).await
    }

    async fn idle_until(&self, deadline: Instant) -> Result<(), Interrupt> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopping),
            () = sleep_until(deadline) => Ok(()),
        }
    }

    /// As [`Worker::back_off`], for longer after each failure of the handler in a row.
    async fn pause(&mut self) -> Result<(), Interrupt> {
        let wait = self.backoff.next_wait();
        self.idle_until(Instant::now() + wait).await
    }

    async fn back_off(&self, backoff: &mut Backoff) -> Result<(), Interrupt> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopping),
            () = backoff.wait() => Ok(()),
        }
    }
}

impl Drop for Worker {
    /// The worker's failures do not count after its end, however it ends.
    fn drop(&mut self) {
        self.registry.withdraw(&self.part);
    }
}
