//! One redrive: from what is settled to the ends of the log as they were when it began.

use std::{collections::BTreeMap, ops::Range};

use tokio::time::Instant;
use uuid::Uuid;

use super::{DeadLetter, Position, Redriver, Report, Selection, Settled, crown::Crown, report::Stopped};
use crate::{
    Record,
    backoff::Backoff,
    consumer::{ReadError, Reader},
};

/// Why a redrive ended that did not see all of what it was to see.
const UNREAD: &str =
    "not all of the dead letters could be read, as some left meanwhile or cannot be had now: ask again";

/// One redrive.
pub(super) struct Work<'a> {
    pub(super) redriver: &'a Redriver,
    pub(super) crown: Crown<'a>,
    /// What is looked at, by partition.
    pub(super) ranges: Vec<Range<i64>>,
    pub(super) until: Instant,
    /// The id of the topic that the letters are in.
    pub(super) topic: Option<Uuid>,
    pub(super) report: Report,
    /// How many letters went before this redrive had to wait for another.
    pub(super) sent_before: u64,
}

impl Work<'_> {
    /// Sends back what is selected.
    pub(super) async fn run(&mut self, selection: &Selection) -> Result<(), Stopped> {
        self.crown.take().await?;
        // Before anything is sent: what comes later, such as a letter that fails again, is not part of it. And not
        // before this is the one that works: another may have gone further until then.
        self.ranges = self.redriver.archive.ranges().await.map_err(|error| Stopped::Never(error.into()))?;
        loop {
            match self.pass(selection).await {
                // Whoever came is told that another works, and goes: then this one has the crown again.
                Err(Stopped::Dethroned) => self.crown.take_again().await?,
                done => return done,
            }
            // What stays is counted anew; what went is not to be counted as gone before.
            let redriven = self.report.redriven;
            self.report = Report { redriven, ..Report::default() };
            self.sent_before = redriven;
        }
    }

    /// From what is settled to the ends.
    async fn pass(&mut self, selection: &Selection) -> Result<(), Stopped> {
        let mut settled = self.fetch_settled().await?;
        match selection {
            Selection::Positions(positions) => {
                for position in positions {
                    let stood =
                        self.range(position.partition).is_some_and(|it| it.contains(&position.offset));
                    match settled.get_mut(&position.partition).filter(|_| stood) {
                        Some(settled) => self.send_one(*position, settled).await?,
                        None => self.report.missing += 1,
                    }
                }
                self.report.already = self.report.already.saturating_sub(self.sent_before);
            }
            Selection::All | Selection::Reason(_) => {
                for (partition, settled) in &mut settled {
                    self.send_all(*partition, settled, selection).await?;
                }
            }
        }
        Ok(())
    }

    /// What was sent back before, of every partition that had something when this began.
    async fn fetch_settled(&mut self) -> Result<BTreeMap<i32, Settled>, Stopped> {
        let mut backoff = Backoff::new();
        let mut committed = loop {
            let asking = async {
                let topic = self.redriver.topic_id().await?;
                Ok((topic, self.redriver.settled_of(topic).await?))
            };
            match asking.await {
                Ok((topic, committed)) => {
                    self.topic = topic;
                    break committed;
                }
                Err(error) if Instant::now() >= self.until => return Err(Stopped::Never(error)),
                Err(_) => backoff.wait().await,
            }
        };
        self.check_ends(&committed).await?;
        let ranges = (0..).zip(&self.ranges).filter(|(_, range)| !range.is_empty());
        Ok(ranges
            .map(|(partition, range)| {
                let mut settled = committed.remove(&partition).unwrap_or_else(|| Settled::from(range.start));
                settled.settle(settled.mark()..range.start); // the log no longer has it
                (partition, settled)
            })
            .collect())
    }

    /// What is settled beyond the ends that this redrive knows was settled by another meanwhile, or is of another log.
    async fn check_ends(&self, committed: &BTreeMap<i32, Settled>) -> Result<(), Stopped> {
        let beyond = |partition: i32, ends: &[Range<i64>]| {
            let mark = committed.get(&partition)?.mark();
            let end = usize::try_from(partition).ok().and_then(|at| ends.get(at))?.end;
            (mark > end).then_some((mark, end))
        };
        if !committed.keys().any(|partition| beyond(*partition, &self.ranges).is_some()) {
            return Ok(());
        }
        let now = self.redriver.archive.ranges().await.map_err(|error| Stopped::Early(error.to_string()))?;
        for partition in committed.keys() {
            if let Some((mark, end)) = beyond(*partition, &now) {
                return Err(Stopped::Early(format!(
                    "partition {partition} of the dead letters ends at {end}, and letters up to {mark} were sent back: \
                     the log was cut or made anew. To begin with what it has now, delete the offsets of group {}",
                    self.redriver.config.group_id
                )));
            }
        }
        Ok(())
    }

    /// The letter at one place.
    async fn send_one(&mut self, position: Position, settled: &mut Settled) -> Result<(), Stopped> {
        let Position { partition, offset } = position;
        self.crown.may_go_on()?;
        if settled.has(offset) {
            self.report.already += 1;
            return Ok(());
        }
        let mut shelf = self.redriver.archive.shelf(partition);
        let (records, next) = self.read(&mut shelf, offset).await?;
        let letter = records.into_iter().find(|record| record.offset == offset);
        if letter.is_none() && next <= offset {
            return Err(Stopped::Early(UNREAD.to_owned()));
        }
        let Some(letter) = letter.map(DeadLetter::read) else {
            self.report.missing += 1;
            return Ok(());
        };
        if self.goes(&letter) {
            self.send(partition, vec![(letter, offset + 1)], settled).await?;
        }
        Ok(())
    }

    /// The selected letters of one partition.
    async fn send_all(
        &mut self,
        partition: i32,
        settled: &mut Settled,
        selection: &Selection,
    ) -> Result<(), Stopped> {
        let end = self.range(partition).map_or(0, |range| range.end);
        let mut shelf = self.redriver.archive.shelf(partition);
        let mut position = settled.mark();
        while position < end {
            self.crown.may_go_on()?;
            let (mut records, next) = self.read(&mut shelf, position).await?;
            if next <= position {
                return Err(Stopped::Early(UNREAD.to_owned()));
            }
            records.retain(|record| record.offset < end);
            // Offsets without a record, before the first and behind each, are settled with their neighbour.
            let first = records.first().map_or(next.min(end), |record| record.offset);
            if position == settled.mark() {
                settled.settle(position..first);
            }
            let behind: Vec<i64> =
                records.iter().skip(1).map(|record| record.offset).chain([next.min(end)]).collect();
            let mut going = Vec::new();
            for (record, behind) in records.into_iter().zip(behind) {
                if settled.has(record.offset) {
                    settled.settle(record.offset..behind);
                    continue;
                }
                let letter = DeadLetter::read(record);
                if selection.takes(&letter) && self.goes(&letter) {
                    going.push((letter, behind));
                }
            }
            self.send(partition, going, settled).await?;
            position = next;
        }
        Ok(())
    }

    /// What stands at `from` or after it, and where to go on.
    async fn read(&mut self, shelf: &mut Reader, from: i64) -> Result<(Vec<Record>, i64), Stopped> {
        let mut backoff = Backoff::new();
        loop {
            match shelf.read(from).await {
                Ok(fetched) => return Ok((fetched.records, fetched.next)),
                // It was there when this began.
                Err(ReadError::OutOfRange | ReadError::TopicRecreated) => {
                    return Err(Stopped::Early(UNREAD.to_owned()));
                }
                Err(error @ ReadError::Undecodable(_)) => return Err(Stopped::Early(error.to_string())),
                Err(ReadError::Transient(_)) => {
                    self.crown.may_go_on()?;
                    backoff.wait().await;
                }
            }
        }
    }

    /// Whether a letter can go; what stays is counted.
    fn goes(&mut self, letter: &DeadLetter) -> bool {
        let stays = if letter.source.topic.as_deref() != Some(&*self.redriver.source) {
            &mut self.report.foreign
        } else if letter.truncated_from.is_some() {
            &mut self.report.truncated
        } else if letter.redrives >= self.redriver.most {
            &mut self.report.exhausted
        } else {
            return true;
        };
        *stays += 1;
        false
    }

    /// What is looked at of a partition; `None` where there is no such partition.
    fn range(&self, partition: i32) -> Option<&Range<i64>> {
        self.ranges.get(usize::try_from(partition).ok()?)
    }
}
