//! Dead letters on their way back to where they came from, each once.
//!
//! ```text
//! the log's ends, fixed ─▶ join the redrive group ─▶ what is settled ─▶ read ─▶ send ─▶ settle, commit ─▶ leave
//!                                                           ▲             up to the ends          │
//!                                                           └──────────────────────────────────────┘
//! ```
//!
//! One redrive works at a time: whoever holds partition 0 of the dead letter topic in the redrive group, whose
//! lease and generation fence it as they fence a consumer. What was sent back is committed in that group, so that
//! a second redrive does not send it again; what comes to the dead letters meanwhile is beyond the ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, stream};
use log::{info, warn};
use serde::Serialize;
use thiserror::Error;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Archive, DeadLetter, Settled, Unreadable};
use crate::messaging::{
    Board, ConsumerConfig, Publisher, Record,
    backoff::Backoff,
    consumer::{ReadError, Reader},
    group::{Assignor, Call, Coordinator, Enrolment, GroupProtocol, Leave, Membership},
};

/// Whoever holds this partition in the redrive group is the one that works, on all of them.
const CROWN: i32 = 0;
/// How many letters are on their way at a time; a crash can repeat that many.
const AT_ONCE: usize = 256;
/// How long the group may take to gather, beyond the session of one who was killed.
const GATHERING: Duration = Duration::from_secs(10);
/// How long leaving may take: with Kafka away it is in vain.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Why a redrive ended that another took the place of.
const ANOTHER: &str = "another redrive has begun: ask again";
/// How long a commit is tried again: without it, what was sent would be sent again.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

/// Which letters are to be sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All that there are.
    All,
    /// Those whose reason has this in it.
    Reason(String),
    /// Those at these places of the dead letter topic.
    Positions(BTreeSet<Position>),
}

/// A place in the dead letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub struct Position {
    /// The partition of the dead letter topic.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// What became of a redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Letters that were sent back, and that the topic they came from has acknowledged.
    pub redriven: u64,
    /// Letters that stay, having been sent back too often before.
    pub exhausted: u64,
    /// Letters that stay, because only the beginning of their value is there.
    pub truncated: u64,
    /// Letters that stay, because they did not come from this topic, or do not say from where.
    pub foreign: u64,
    /// Of those asked for by position: letters that were sent back before.
    pub already: u64,
    /// Of those asked for by position: places where no letter is.
    pub missing: u64,
    /// Whether all was seen to. Where not, the same redrive can be asked for again, and goes on.
    pub complete: bool,
    /// Why not all was seen to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// A redrive that did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RedriveError {
    /// Another one is at work, here or in another process.
    #[error("another redrive is at work")]
    Busy,
    /// Kafka does not answer, or not in time.
    #[error("the redrive cannot begin: {0}")]
    Unavailable(String),
}

impl From<Unreadable> for RedriveError {
    fn from(error: Unreadable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Sends dead letters of one source topic back.
pub struct Redriver {
    archive: Archive,
    publisher: Arc<dyn Publisher>,
    source: Arc<str>,
    config: ConsumerConfig,
    most: u32,
    coordinator: Arc<Coordinator>,
    one: Mutex<()>,
    /// Its own: how a redrive fares is no business of /ready.
    board: Arc<Board>,
    stop: CancellationToken,
}

impl Redriver {
    /// A redriver of letters from `source`, which `publisher` writes to; a letter that was sent back `most` times
    /// stays. The redrive group is the dead letter topic's name with `.redrive` after it, with the times of
    /// `config`.
    pub fn new(
        archive: Archive,
        publisher: Arc<dyn Publisher>,
        source: &str,
        config: &ConsumerConfig,
        most: u32,
    ) -> Self {
        let config = ConsumerConfig {
            group_id: format!("{}.redrive", archive.topic().name()),
            protocol: GroupProtocol::Classic,
            assignors: vec![Assignor::CooperativeSticky],
            instance_id: None,
            ..config.clone()
        };
        let coordinator = Coordinator::new(Arc::clone(archive.cluster()), config.group_id.clone());
        Self {
            archive,
            publisher,
            source: source.into(),
            config,
            most,
            coordinator: Arc::new(coordinator),
            one: Mutex::default(),
            board: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    /// A redrive at work ends after the letters that are on their way.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// What is settled, by partition, for whoever shows letters; a partition of which nothing is known is absent.
    ///
    /// # Errors
    ///
    /// Kafka does not tell.
    pub async fn settled(&self) -> Result<BTreeMap<i32, Settled>, RedriveError> {
        let partitions = 0..self.archive.topic().partitions() as i32;
        let committed = self.coordinator.noted(self.archive.topic().name(), partitions).await;
        let committed = committed.map_err(|error| RedriveError::Unavailable(error.to_string()))?;
        let read = |(partition, (offset, note)): (_, (_, String))| (partition, Settled::read(offset, &note));
        Ok(committed.into_iter().map(read).collect())
    }

    /// Sends back the selected letters that stand there now and were not sent back before. At `until` it ends
    /// with what is done.
    ///
    /// # Errors
    ///
    /// It did not begin. What stops it later is in the report.
    pub async fn redrive(&self, selection: &Selection, until: Instant) -> Result<Report, RedriveError> {
        let _one = self.one.try_lock().map_err(|_| RedriveError::Busy)?;
        // Before anything else: what comes later, such as a letter that fails again, is not part of it.
        let ranges = self.archive.ranges().await?;
        let enrolment = Enrolment {
            coordinator: Arc::clone(&self.coordinator),
            topic: self.archive.topic().clone(),
            config: self.config.clone(),
            board: Arc::clone(&self.board),
        };
        let membership = Membership::start(Arc::new(enrolment));
        let mut work =
            Work { redriver: self, membership, ranges, until, report: Report::default(), sent_before: 0 };
        let done = work.run(selection).await;
        if timeout(LEAVE_PATIENCE, work.membership.leave(Leave::Closing)).await.is_err() {
            log::debug!("leaving the redrive group: no answer");
        }
        let mut report = work.report;
        match done {
            Ok(()) => report.complete = true,
            Err(Stopped::Never(error)) => return Err(error),
            Err(Stopped::Early(why)) => report.stopped = Some(why),
            Err(Stopped::Dethroned) => report.stopped = Some(ANOTHER.to_owned()),
        }
        info!(
            redriven = report.redriven, exhausted = report.exhausted, complete = report.complete;
            "dead letters were sent back to {}", self.source
        );
        Ok(report)
    }
}

impl std::fmt::Debug for Redriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redriver")
            .field("source", &self.source)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// Why a redrive ended before its end.
enum Stopped {
    Never(RedriveError),
    Early(String),
    /// For now.
    Dethroned,
}

/// Whether a letter goes.
enum Fate {
    Goes,
    Stays,
    NotAsked,
}

/// One redrive.
struct Work<'a> {
    redriver: &'a Redriver,
    membership: Membership,
    ranges: Vec<Range<i64>>,
    until: Instant,
    report: Report,
    /// How many letters went before this redrive had to wait for another.
    sent_before: u64,
}

impl Work<'_> {
    async fn run(&mut self, selection: &Selection) -> Result<(), Stopped> {
        self.be_crowned().await?;
        loop {
            match self.pass(selection).await {
                // Whoever came is told that another works, and goes: then this one has the crown again.
                Err(Stopped::Dethroned) => self.be_crowned_again().await?,
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
                    let known = usize::try_from(position.partition).ok();
                    let range = known.and_then(|partition| self.ranges.get(partition)).cloned();
                    match (range, settled.get_mut(&position.partition)) {
                        (Some(range), Some(settled)) if range.contains(&position.offset) => {
                            self.send_one(*position, settled).await?;
                        }
                        _ => self.report.missing += 1,
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

    /// Waits until this member is the one that works.
    async fn be_crowned(&mut self) -> Result<(), Stopped> {
        let never = |why: &str| Stopped::Never(RedriveError::Unavailable(why.to_owned()));
        let patience = self.redriver.config.session_timeout + GATHERING;
        let by = self.until.min(Instant::now() + patience);
        loop {
            let call = tokio::select! {
                () = self.redriver.stop.cancelled() => return Err(never("the process is stopping")),
                call = timeout_at(by, self.membership.next()) => call,
            };
            match call {
                Err(_) => {
                    let trouble = self.redriver.board.watch().borrow().kafka.error.clone();
                    let because = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
                    return Err(never(&format!("the redrive group did not gather in time{because}")));
                }
                Ok(Call::Hold(held, _)) => {
                    let crowned = held.contains(&CROWN);
                    self.membership.holds(held);
                    // A newcomer gets nothing that another has not given up.
                    return if crowned { Ok(()) } else { Err(Stopped::Never(RedriveError::Busy)) };
                }
                Ok(Call::Wait) => {}
                Ok(Call::GiveUp | Call::Lost(_)) => self.membership.holds(BTreeSet::new()),
                Ok(Call::Barred(why)) => return Err(never(&why)),
            }
        }
    }

    /// Waits until whoever joined has left again.
    async fn be_crowned_again(&mut self) -> Result<(), Stopped> {
        let by = self.until.min(Instant::now() + GATHERING);
        loop {
            match timeout_at(by, self.membership.next()).await {
                Ok(Call::Hold(held, _)) => {
                    let crowned = held.contains(&CROWN);
                    self.membership.holds(held);
                    if crowned {
                        return Ok(());
                    }
                }
                Ok(Call::Wait) => {}
                Ok(Call::GiveUp | Call::Lost(_) | Call::Barred(_)) | Err(_) => {
                    self.membership.holds(BTreeSet::new());
                    return Err(Stopped::Early(ANOTHER.to_owned()));
                }
            }
        }
    }

    /// Between batches: whether there is the right, the time and the will to go on.
    fn may_go_on(&mut self) -> Result<(), Stopped> {
        let early = |why: &str| Err(Stopped::Early(why.to_owned()));
        while let Some(call) = self.membership.next().now_or_never() {
            match call {
                Call::Hold(held, _) => {
                    let crowned = held.contains(&CROWN);
                    self.membership.holds(held);
                    if !crowned {
                        return Err(Stopped::Dethroned);
                    }
                }
                Call::Wait => {}
                Call::GiveUp | Call::Lost(_) | Call::Barred(_) => {
                    self.membership.holds(BTreeSet::new());
                    return early("out of the redrive group, which another may lead now: ask again");
                }
            }
        }
        if !self.membership.standing().lease().is_valid() {
            return early("the redrive group does not answer: ask again");
        }
        if self.redriver.stop.is_cancelled() {
            return early("the process is stopping: ask another");
        }
        if Instant::now() >= self.until {
            return early("the time for one request is over: ask again");
        }
        Ok(())
    }

    /// What was sent back before, of every partition that had something when this began.
    async fn fetch_settled(&mut self) -> Result<BTreeMap<i32, Settled>, Stopped> {
        let mut backoff = Backoff::new();
        let mut committed = loop {
            match self.redriver.settled().await {
                Ok(committed) => break committed,
                Err(error) if Instant::now() >= self.until => return Err(Stopped::Never(error)),
                Err(_) => backoff.wait().await,
            }
        };
        let ranges = (0..).zip(&self.ranges).filter(|(_, range)| !range.is_empty());
        Ok(ranges
            .map(|(partition, range)| {
                let settled = committed.remove(&partition).filter(|settled| settled.mark() <= range.end);
                let mut settled = settled.unwrap_or_else(|| Settled::from(range.start));
                settled.settle(settled.mark()..range.start); // the log no longer has it
                (partition, settled)
            })
            .collect())
    }

    /// The letter at one place.
    async fn send_one(&mut self, position: Position, settled: &mut Settled) -> Result<(), Stopped> {
        let Position { partition, offset } = position;
        self.may_go_on()?;
        if settled.has(offset) {
            self.report.already += 1;
            return Ok(());
        }
        let mut shelf = self.redriver.archive.shelf(partition);
        let found = self.read(&mut shelf, offset).await?;
        let letter = found.map(|(records, _)| records.into_iter().find(|record| record.offset == offset));
        let Some(letter) = letter.flatten().map(DeadLetter::read) else {
            self.report.missing += 1;
            return Ok(());
        };
        if matches!(self.judge(&letter, &Selection::All), Fate::Goes) {
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
        let end =
            usize::try_from(partition).ok().and_then(|at| self.ranges.get(at)).map_or(0, |range| range.end);
        let mut shelf = self.redriver.archive.shelf(partition);
        let mut position = settled.mark();
        while position < end {
            self.may_go_on()?;
            let Some((mut records, next)) = self.read(&mut shelf, position).await? else { break };
            if next <= position {
                break;
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
                if matches!(self.judge(&letter, selection), Fate::Goes) {
                    going.push((letter, behind));
                }
            }
            self.send(partition, going, settled).await?;
            position = next;
        }
        Ok(())
    }

    /// What stands at `from` or after it, and where to go on; `None` where the log has lost that place.
    async fn read(&mut self, shelf: &mut Reader, from: i64) -> Result<Option<(Vec<Record>, i64)>, Stopped> {
        let mut backoff = Backoff::new();
        loop {
            match shelf.read(from).await {
                Ok(fetched) => return Ok(Some((fetched.records, fetched.next))),
                Err(ReadError::OutOfRange) => return Ok(None),
                Err(error @ ReadError::Undecodable(_)) => return Err(Stopped::Early(error.to_string())),
                Err(ReadError::Passing(_)) => {
                    self.may_go_on()?;
                    backoff.wait().await;
                }
            }
        }
    }

    /// Whether a letter goes; what stays is counted.
    fn judge(&mut self, letter: &DeadLetter, selection: &Selection) -> Fate {
        if let Selection::Reason(reason) = selection
            && !letter.reason.contains(reason.as_str())
        {
            return Fate::NotAsked;
        }
        let count = if letter.source.topic.as_deref() != Some(&*self.redriver.source) {
            &mut self.report.foreign
        } else if letter.truncated_from.is_some() {
            &mut self.report.truncated
        } else if letter.redrives >= self.redriver.most {
            &mut self.report.exhausted
        } else {
            return Fate::Goes;
        };
        *count += 1;
        Fate::Stays
    }

    /// Sends letters, each with the offset up to which it settles, and commits what was acknowledged.
    async fn send(
        &mut self,
        partition: i32,
        letters: Vec<(DeadLetter, i64)>,
        settled: &mut Settled,
    ) -> Result<(), Stopped> {
        let mut letters = letters.into_iter().peekable();
        while letters.peek().is_some() {
            self.may_go_on()?;
            let room = settled.room().min(AT_ONCE);
            if room == 0 {
                return Err(Stopped::Early(
                    "the letters that were sent back lie too far apart to be noted: send those between back, too"
                        .to_owned(),
                ));
            }
            let publisher = &self.redriver.publisher;
            let sending = letters.by_ref().take(room).map(|(letter, behind)| async move {
                let sent = publisher.publish(letter.to_send_back()).await;
                (letter.record.offset, behind, sent)
            });
            let sending: Vec<_> = sending.collect();
            let mut refusal = None;
            let mut outcomes = stream::iter(sending).buffered(AT_ONCE);
            while let Some((offset, behind, sent)) = outcomes.next().await {
                match sent {
                    Ok(_) => {
                        self.report.redriven += 1;
                        settled.settle(offset..behind);
                    }
                    Err(error) => {
                        refusal.get_or_insert(format!("the letter {partition}/{offset} stays: {error}"));
                    }
                }
            }
            drop(outcomes);
            self.commit(partition, settled).await?;
            if let Some(why) = refusal {
                return Err(Stopped::Early(why));
            }
        }
        Ok(())
    }

    async fn commit(&mut self, partition: i32, settled: &Settled) -> Result<(), Stopped> {
        let (coordinator, topic) = (&self.redriver.coordinator, self.redriver.archive.topic().name());
        let noted = BTreeMap::from([(partition, (settled.mark(), settled.note()))]);
        let by = Instant::now() + COMMIT_PATIENCE;
        let mut backoff = Backoff::new();
        loop {
            let outcome = match self.membership.standing().claim() {
                Some(claim) => {
                    coordinator.commit_noted(&claim, topic, &noted).await.map_err(|error| error.to_string())
                }
                None => Err("out of the redrive group".to_owned()),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= by => {
                    warn!(
                        "up to {AT_ONCE} dead letters of partition {partition} may be sent back twice: {error}"
                    );
                    return Err(Stopped::Early(format!(
                        "what was sent back last is not committed, and the next redrive sends it again: {error}"
                    )));
                }
                Err(_) => backoff.wait().await,
            }
        }
    }
}
