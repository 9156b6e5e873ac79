//! One redrive: from the progress to the ends of the log at its beginning.

use std::{collections::BTreeMap, ops::Range};

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    DeadLetter, DlqPosition, RedriveProgress, RedriveReport, RedriveSelection, Redriver, lock::RedriveLock,
    report::Interruption,
};
use crate::{
    Record,
    backoff::Backoff,
    consumer::{ReadError, Reader},
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
                        Some(progress) => self.send_one(*position, progress).await?,
                        None => self.report.missing += 1,
                    }
                }
                self.report.already = self.report.already.saturating_sub(self.sent_before);
            }
            RedriveSelection::All | RedriveSelection::Reason(_) => {
                for (partition, progress) in &mut progress {
                    self.send_all(*partition, progress, selection).await?;
                }
            }
        }
        Ok(())
    }

    /// The progress of each partition that had records at the beginning.
    async fn fetch_progress(&mut self) -> Result<BTreeMap<i32, RedriveProgress>, Interruption> {
        let mut backoff = Backoff::new();
        let mut committed = loop {
            let asking = async {
                let topic = self.redriver.topic_id().await?;
                Ok((topic, self.redriver.progress_of(topic).await?))
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
                let mut progress =
                    committed.remove(&partition).unwrap_or_else(|| RedriveProgress::new(range.start));
                progress.mark_done(progress.watermark()..range.start); // the log no longer has it
                (partition, progress)
            })
            .collect())
    }

    /// Progress beyond the ends was made by another redrive meanwhile, or belongs to another log.
    async fn check_ends(&self, committed: &BTreeMap<i32, RedriveProgress>) -> Result<(), Interruption> {
        let beyond = |partition: i32, ends: &[Range<i64>]| {
            let mark = committed.get(&partition)?.watermark();
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
                return Err(Interruption::Early(format!(
                    "partition {partition} of the dead letters ends at {end}, and dead letters up to {mark} were sent back: \
                     the log was cut or made anew. To begin with what it has now, delete the offsets of group {}",
                    self.redriver.config.group_id
                )));
            }
        }
        Ok(())
    }

    /// Handles the dead letter at one position.
    async fn send_one(
        &mut self,
        position: DlqPosition,
        progress: &mut RedriveProgress,
    ) -> Result<(), Interruption> {
        let DlqPosition { partition, offset } = position;
        self.lock.check()?;
        if progress.contains(offset) {
            self.report.already += 1;
            return Ok(());
        }
        let mut partition_reader = self.redriver.reader.partition_reader(partition);
        let (records, next) = self.read(&mut partition_reader, offset).await?;
        let dead_letter = records.into_iter().find(|record| record.offset == offset);
        if dead_letter.is_none() && next <= offset {
            return Err(Interruption::Early(UNREAD.to_owned()));
        }
        let Some(dead_letter) = dead_letter.map(DeadLetter::read) else {
            self.report.missing += 1;
            return Ok(());
        };
        if self.goes(&dead_letter) {
            self.send(partition, vec![(dead_letter, offset + 1)], progress).await?;
        }
        Ok(())
    }

    /// Handles the selected dead letters of one partition.
    async fn send_all(
        &mut self,
        partition: i32,
        progress: &mut RedriveProgress,
        selection: &RedriveSelection,
    ) -> Result<(), Interruption> {
        let end = self.range(partition).map_or(0, |range| range.end);
        let mut partition_reader = self.redriver.reader.partition_reader(partition);
        let mut position = progress.watermark();
        while position < end {
            self.lock.check()?;
            let (mut records, next) = self.read(&mut partition_reader, position).await?;
            if next <= position {
                return Err(Interruption::Early(UNREAD.to_owned()));
            }
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
            self.send(partition, going, progress).await?;
            position = next;
        }
        Ok(())
    }

    /// The records at `from` or after it, and the offset to read on from.
    async fn read(
        &mut self,
        partition_reader: &mut Reader,
        from: i64,
    ) -> Result<(Vec<Record>, i64), Interruption> {
        let mut backoff = Backoff::new();
        loop {
            match partition_reader.read(from).await {
                Ok(fetched) => return Ok((fetched.records, fetched.next)),
                // The offset was there at the beginning.
                Err(ReadError::OutOfRange | ReadError::TopicRecreated | ReadError::Truncated(_)) => {
                    return Err(Interruption::Early(UNREAD.to_owned()));
                }
                Err(error @ ReadError::Undecodable(_)) => return Err(Interruption::Early(error.to_string())),
                Err(ReadError::Transient(_)) => {
                    self.lock.check()?;
                    backoff.wait().await;
                }
            }
        }
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
