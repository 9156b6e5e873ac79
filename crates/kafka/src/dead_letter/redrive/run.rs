//! One redrive: from the progress to the ends of the log at its beginning.

use std::{collections::BTreeMap, ops::Range};

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    DeadLetter, DlqPosition, RedriveProgress, RedriveReport, RedriveSelection, Redriver, lock::RedriveLock,
    progress_of, report::Interruption,
};
use crate::{
    FetchPosition, LeaderEpochs,
    backoff::Backoff,
    consumer::{ReadError, Reader},
    group::{OffsetAndMetadata, topic_of},
    wire::Fetched,
};

/// The reason why a redrive stopped that could not read all.
const UNREAD: &str =
    "not all of the dead letters could be read, as some left meanwhile or cannot be had now: ask again";

/// One redrive.
pub(super) struct RedriveRun<'a> {
    pub(super) redriver: &'a Redriver,
    pub(super) lock: RedriveLock<'a>,
    /// The offsets to handle, by partition.
    pub(super) ranges: Vec<Range<i64>>,
    pub(super) until: Instant,
    /// The dead letter topic's id.
    pub(super) topic: Option<Uuid>,
    pub(super) report: RedriveReport,
    /// The number of dead letters that were sent before the lock was lost.
    pub(super) sent_before: u64,
}

impl RedriveRun<'_> {
    /// Sends back the selected dead letters.
    pub(super) async fn run(&mut self, selection: &RedriveSelection) -> Result<(), Interruption> {
        self.lock.acquire().await?;
        // Fetched before anything is sent, so that a dead letter that fails again is not part of it; and with the lock,
        // as another redrive may have gone further until then.
        self.ranges =
            self.redriver.reader.ranges().await.map_err(|error| Interruption::Never(error.into()))?;
        loop {
            match self.pass(selection).await {
                // The member that joined is told that a redrive runs, and leaves: then this one has the lock again.
                Err(Interruption::LockLost) => self.lock.reacquire().await?,
                done => return done,
            }
            // The dead letters that stay are counted anew.
            let redriven = self.report.redriven;
            self.report = RedriveReport { redriven, ..RedriveReport::default() };
            self.sent_before = redriven;
        }
    }

    /// One pass from the progress to the ends.
    async fn pass(&mut self, selection: &RedriveSelection) -> Result<(), Interruption> {
        let mut progress = self.fetch_progress().await?;
        match selection {
            RedriveSelection::Positions(positions) => {
                for position in positions {
                    let stood =
                        self.range(position.partition).is_some_and(|it| it.contains(&position.offset));
                    match progress.get_mut(&position.partition).filter(|_| stood) {
                        Some((progress, start)) => self.send_one(*position, progress, *start).await?,
                        None => self.report.missing += 1,
                    }
                }
                self.report.already = self.report.already.saturating_sub(self.sent_before);
            }
            RedriveSelection::All | RedriveSelection::Reason(_) => {
                for (partition, (progress, start)) in &mut progress {
                    self.send_all(*partition, progress, *start, selection).await?;
                }
            }
        }
        Ok(())
    }

    /// The progress of each partition that had records at the beginning, and the position of its watermark.
    async fn fetch_progress(
        &mut self,
    ) -> Result<BTreeMap<i32, (RedriveProgress, FetchPosition)>, Interruption> {
        let mut backoff = Backoff::new();
        let committed = loop {
            let asking = async {
                let topic = self.redriver.topic_id().await?;
                Ok((topic, self.redriver.committed(topic).await?))
            };
            match asking.await {
                Ok((topic, committed)) => {
                    self.topic = topic;
                    break committed;
                }
                Err(error) if Instant::now() >= self.until => return Err(Interruption::Never(error)),
                Err(_) => backoff.wait().await,
            }
        };
        self.check_ends(&committed).await?;
        let ranges = (0..).zip(&self.ranges).filter(|(_, range)| !range.is_empty());
        Ok(ranges
            .map(|(partition, range)| {
                let committed = committed.get(&partition);
                let mut progress = committed.map_or_else(|| RedriveProgress::new(range.start), progress_of);
                // Another program's epoch may be a newer one than the record's.
                let is_ours = |it: &&OffsetAndMetadata| topic_of(&it.metadata).is_some();
                let kept = committed.filter(|it| it.offset >= range.start).filter(is_ours);
                let leader_epoch = kept.and_then(|it| it.leader_epoch);
                progress.mark_done(progress.watermark()..range.start); // the log no longer has it
                let start = FetchPosition { offset: progress.watermark(), leader_epoch };
                (partition, (progress, start))
            })
            .collect())
    }

    /// Progress beyond the ends was made by another redrive meanwhile, or belongs to another log.
    async fn check_ends(&self, committed: &BTreeMap<i32, OffsetAndMetadata>) -> Result<(), Interruption> {
        let beyond = |partition: i32, ends: &[Range<i64>]| {
            let mark = progress_of(committed.get(&partition)?).watermark();
            let end = usize::try_from(partition).ok().and_then(|at| ends.get(at))?.end;
            (mark > end).then_some((mark, end))
        };
        if !committed.keys().any(|partition| beyond(*partition, &self.ranges).is_some()) {
            return Ok(());
        }
        let now =
            self.redriver.reader.ranges().await.map_err(|error| Interruption::Early(error.to_string()))?;
        for partition in committed.keys() {
            if let Some((mark, end)) = beyond(*partition, &now) {
                return Err(self.cut(*partition, end, mark));
            }
        }
        Ok(())
    }

    /// Handles the dead letter at one position.
    async fn send_one(
        &mut self,
        position: DlqPosition,
        progress: &mut RedriveProgress,
        start: FetchPosition,
    ) -> Result<(), Interruption> {
        let DlqPosition { partition, offset } = position;
        self.lock.check()?;
        let mut partition_reader = self.redriver.reader.partition_reader(partition);
        self.validate(&mut partition_reader, start).await?;
        if progress.contains(offset) {
            self.report.already += 1;
            return Ok(());
        }
        let fetched = self.read(&mut partition_reader, offset.into()).await?;
        let dead_letter = fetched.records.into_iter().find(|record| record.offset == offset);
        if dead_letter.is_none() && fetched.next <= offset {
            return Err(Interruption::Early(UNREAD.to_owned()));
        }
        let Some(dead_letter) = dead_letter.map(DeadLetter::read) else {
            self.report.missing += 1;
            return Ok(());
        };
        if self.goes(&dead_letter) {
            // Of the records above the watermark no epoch is known.
            let mut epochs = LeaderEpochs::before(start);
            epochs.push(start.offset, None);
            self.send(partition, vec![(dead_letter, offset + 1)], progress, &epochs).await?;
        }
        Ok(())
    }

    /// Handles the selected dead letters of one partition.
    async fn send_all(
        &mut self,
        partition: i32,
        progress: &mut RedriveProgress,
        start: FetchPosition,
        selection: &RedriveSelection,
    ) -> Result<(), Interruption> {
        let end = self.range(partition).map_or(0, |range| range.end);
        let mut partition_reader = self.redriver.reader.partition_reader(partition);
        let mut from = start;
        self.validate(&mut partition_reader, from).await?;
        let mut epochs = LeaderEpochs::before(from);
        while from.offset < end {
            self.lock.check()?;
            let fetched = self.read(&mut partition_reader, from).await?;
            let (position, next) = (from.offset, fetched.next);
            if next <= position {
                return Err(Interruption::Early(UNREAD.to_owned()));
            }
            epochs.extend(&fetched.epochs);
            from = fetched.next_position(from);
            let mut records = fetched.records;
            records.retain(|record| record.offset < end);
            // Offsets without a record, before the first one and after each, are marked with their neighbour.
            let first = records.first().map_or(next.min(end), |record| record.offset);
            if position == progress.watermark() {
                progress.mark_done(position..first);
            }
            let behind: Vec<i64> =
                records.iter().skip(1).map(|record| record.offset).chain([next.min(end)]).collect();
            let mut going = Vec::new();
            for (record, behind) in records.into_iter().zip(behind) {
                if progress.contains(record.offset) {
                    progress.mark_done(record.offset..behind);
                    continue;
                }
                let dead_letter = DeadLetter::read(record);
                if selection.takes(&dead_letter) && self.goes(&dead_letter) {
                    going.push((dead_letter, behind));
                }
            }
            // What was sent back by earlier redrives may go further than this one has read.
            let mut known = epochs.clone();
            known.push(next, None);
            self.send(partition, going, progress, &known).await?;
        }
        Ok(())
    }

    /// Checks that the log has the dead letters before the position.
    async fn validate(
        &mut self,
        partition_reader: &mut Reader,
        from: FetchPosition,
    ) -> Result<(), Interruption> {
        let mut backoff = Backoff::new();
        while let Err(error) = partition_reader.validate(from, &LeaderEpochs::before(from)).await {
            self.check(error, partition_reader, from)?;
            backoff.wait().await;
        }
        Ok(())
    }

    /// The records at `from` or after it.
    async fn read(
        &mut self,
        partition_reader: &mut Reader,
        from: FetchPosition,
    ) -> Result<Fetched, Interruption> {
        let mut backoff = Backoff::new();
        loop {
            match partition_reader.read(from).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => self.check(error, partition_reader, from)?,
            }
            backoff.wait().await;
        }
    }

    /// `Ok` if a retry may help.
    fn check(
        &mut self,
        error: ReadError,
        partition_reader: &Reader,
        from: FetchPosition,
    ) -> Result<(), Interruption> {
        match error {
            ReadError::Transient(_) => self.lock.check(),
            ReadError::Truncated(end) => {
                let end = end.map_or(0, |end| end.offset);
                Err(self.cut(partition_reader.partition(), end, from.offset))
            }
            // The offset was there at the beginning.
            ReadError::OutOfRange | ReadError::TopicRecreated => Err(Interruption::Early(UNREAD.to_owned())),
            error @ ReadError::Undecodable(_) => Err(Interruption::Early(error.to_string())),
        }
    }

    /// The log has other records between `end` and `mark` than those that redrives have read there.
    fn cut(&self, partition: i32, end: i64, mark: i64) -> Interruption {
        Interruption::Early(format!(
            "partition {partition} of the dead letters ended at {end}, and redrives have read up to {mark}: the log was cut or \
             made anew. To begin with what it has now, delete the offsets of group {}",
            self.redriver.config.group_id
        ))
    }

    /// Whether a dead letter can be sent; counts one that stays.
    fn goes(&mut self, dead_letter: &DeadLetter) -> bool {
        let is_foreign = dead_letter.source.topic.as_deref() != Some(&*self.redriver.source);
        let stays = if is_foreign || dead_letter.is_in_sequence() {
            &mut self.report.foreign
        } else if dead_letter.truncated_from.is_some() {
            &mut self.report.truncated
        } else if dead_letter.redrives >= self.redriver.most {
            &mut self.report.exhausted
        } else {
            return true;
        };
        *stays += 1;
        false
    }

    /// The offsets of a partition; `None` if there is no such partition.
    fn range(&self, partition: i32) -> Option<&Range<i64>> {
        self.ranges.get(usize::try_from(partition).ok()?)
    }
}
