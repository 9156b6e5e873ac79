//! Lists dead letters, the newest first, in pages. The number, the bytes and the reading of a page are bounded.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt::{self, Display, Formatter},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

use super::{DeadLetter, VERDICT};
use crate::{
    Cluster, Topic, TransientError,
    backoff::Backoff,
    consumer::{ReadError, Reader},
};

/// The most bytes of the dead letters of a page in memory. A larger dead letter is a page of its own.
const PAGE_BYTES: usize = 4 << 20;
/// The offsets of one read. A page is read backwards in windows, as Kafka reads forwards only.
const WINDOW: i64 = 512;
/// The most offsets of a partition that are read for one page.
const LOOKED_AT: i64 = 50_000;

/// Reads a dead letter topic.
#[derive(Debug, Clone)]
pub struct DlqReader {
    cluster: Arc<Cluster>,
    topic: Topic,
    fetch_max_bytes: i32,
    patience: Duration,
}

/// Selects dead letters. A field that is `None` selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DlqFilter {
    /// The reason contains this text.
    pub reason: Option<String>,
    /// The partition of the source topic.
    pub source_partition: Option<i32>,
    /// The key of the record.
    pub key: Option<String>,
    /// The earliest time at which it was sent to the dead letter topic.
    pub from: Option<DateTime<Utc>>,
    /// The time before which it was sent to the dead letter topic.
    pub to: Option<DateTime<Utc>>,
}

/// The position of a listing: for each partition of the dead letter topic, the offset that the next dead letter is
/// below. It is valid in every process, as long as the topic is not recreated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DlqCursor(Vec<i64>);

/// A page of a listing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DlqPage {
    /// The dead letters, the newest first. There may be fewer than asked for, even none, although `next` is set.
    pub dead_letters: Vec<DeadLetter>,
    /// The start of the next page; `None` after the last.
    pub next: Option<DlqCursor>,
}

/// The dead letter topic cannot be read now.
#[derive(Debug, Clone)]
pub struct DlqReadError(TransientError);

impl DlqReadError {
    /// An error for that reason: an error, or a message.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(TransientError::new(reason))
    }
}

impl Display for DlqReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the dead letters cannot be read: {}", self.0)
    }
}

impl Error for DlqReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl DlqCursor {
    /// The listing of the dead letters below these offsets, one for each partition in order. A negative one counts as 0.
    pub fn new(offsets: Vec<i64>) -> Self {
        Self(offsets)
    }

    /// The offset of each partition.
    pub fn offsets(&self) -> &[i64] {
        &self.0
    }
}

impl DlqFilter {
    fn takes(&self, dead_letter: &DeadLetter) -> bool {
        let aside = dead_letter.record.timestamp;
        !dead_letter.record.headers.contains(VERDICT)
            && self.reason.as_ref().is_none_or(|reason| dead_letter.reason.contains(reason.as_str()))
            && self.source_partition.is_none_or(|partition| dead_letter.source.partition == Some(partition))
            && self.key.as_ref().is_none_or(|key| dead_letter.record.key.as_deref() == Some(key.as_bytes()))
            && self.from.is_none_or(|from| from <= aside)
            && self.to.is_none_or(|to| aside < to)
    }
}

impl DlqReader {
    /// A reader of that topic. A page, or the look at the ends of the log, takes `patience` at most.
    pub fn new(cluster: Arc<Cluster>, topic: Topic, fetch_max_bytes: i32, patience: Duration) -> Self {
        Self { cluster, topic, fetch_max_bytes, patience }
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The offsets of each partition, at this time.
    pub(super) async fn ranges(&self) -> Result<Vec<Range<i64>>, DlqReadError> {
        let by = Instant::now() + self.patience;
        let partitions = timeout_at(by, self.topic.clone().known_partitions()).await.unwrap_or_default();
        if partitions == 0 {
            return Err(DlqReadError::new(format!("topic {} is not known yet", self.topic.name())));
        }
        let mut ranges = Vec::with_capacity(partitions);
        for partition in 0..partitions as i32 {
            let mut backoff = Backoff::new();
            let mut partition_reader = self.partition_reader(partition);
            ranges.push(loop {
                match partition_reader.range().await {
                    Ok(range) => break range,
                    Err(error) if Instant::now() >= by => return Err(DlqReadError::new(error)),
                    Err(_) => backoff.wait().await,
                }
            });
        }
        Ok(ranges)
    }

    /// A reader of one partition.
    pub(super) fn partition_reader(&self, partition: i32) -> Reader {
        let (cluster, topic) = (Arc::clone(&self.cluster), Arc::clone(self.topic.name()));
        Reader::new(cluster, topic, partition, self.fetch_max_bytes)
    }

    /// A page of at most `limit` dead letters that the filter selects, the newest first: those before `place`, or the
    /// newest. Within a partition the offset decides what is newer, between partitions the time.
    ///
    /// # Errors
    ///
    /// The topic is not known yet, or cannot be read now.
    pub async fn newest(
        &self,
        filter: &DlqFilter,
        place: Option<&DlqCursor>,
        limit: usize,
    ) -> Result<DlqPage, DlqReadError> {
        let by = Instant::now() + self.patience;
        let mut ranges = self.ranges().await?;
        if let Some(DlqCursor(ends)) = place {
            // Neither later records nor new partitions belong to the listing.
            for (at, range) in ranges.iter_mut().enumerate() {
                let end = ends.get(at).map_or(range.start, |end| range.end.min(*end));
                range.end = end.max(range.start);
            }
        }
        let mut page = PageBuilder::new(limit.max(1), ranges.len());
        for (partition, range) in ranges.iter().enumerate() {
            self.look_back(filter, partition, range.clone(), by, &mut page).await?;
        }
        Ok(page.close(&ranges))
    }

    /// Reads one partition backwards, until the rest cannot be on the page or enough was read.
    async fn look_back(
        &self,
        filter: &DlqFilter,
        partition: usize,
        range: Range<i64>,
        by: Instant,
        page: &mut PageBuilder,
    ) -> Result<(), DlqReadError> {
        let mut partition_reader = self.partition_reader(partition as i32);
        page.reached[partition] = Reached { offset: range.end, time: i64::MAX };
        while page.reached[partition].offset > range.start {
            let end = page.reached[partition].offset;
            if range.end - end >= LOOKED_AT || (end < range.end && Instant::now() >= by) {
                break;
            }
            let window = (end - WINDOW).max(range.start)..end;
            let (from, seen) = read_window(&mut partition_reader, window, filter).await?;
            for Seen { offset, time, dead_letter } in seen.into_iter().rev() {
                let reached = &mut page.reached[partition];
                // Clocks differ: within a partition the offset decides.
                reached.time = reached.time.min(time);
                reached.offset = offset;
                if let Some(dead_letter) = dead_letter
                    && !page.offer(partition, offset, dead_letter)
                {
                    return Ok(());
                }
            }
            page.reached[partition].offset = from;
        }
        Ok(())
    }
}

/// A record that was read, with its dead letter if the filter selects it.
struct Seen {
    offset: i64,
    time: i64,
    dead_letter: Option<DeadLetter>,
}

/// The records of a window, and the offset of the first one that is kept: not all may fit in memory.
async fn read_window(
    partition_reader: &mut Reader,
    window: Range<i64>,
    filter: &DlqFilter,
) -> Result<(i64, VecDeque<Seen>), DlqReadError> {
    let (mut seen, mut bytes): (VecDeque<Seen>, _) = (VecDeque::new(), 0);
    let (mut from, mut position) = (window.start, window.start);
    while position < window.end {
        let fetched = match partition_reader.read(position).await {
            Ok(fetched) => fetched,
            // Retention has deleted the records there.
            Err(ReadError::OutOfRange) => break,
            Err(error) => return Err(DlqReadError::new(error)),
        };
        if fetched.next <= position {
            break;
        }
        for record in fetched.records.into_iter().filter(|record| record.offset < window.end) {
            let (offset, time) = (record.offset, record.timestamp.timestamp_millis());
            let dead_letter = Some(DeadLetter::read(record)).filter(|dead_letter| filter.takes(dead_letter));
            bytes += dead_letter.as_ref().map_or(0, DeadLetter::size);
            seen.push_back(Seen { offset, time, dead_letter });
            while bytes > PAGE_BYTES && seen.len() > 1 {
                let Some(oldest) = seen.pop_front() else { break };
                bytes -= oldest.dead_letter.as_ref().map_or(0, DeadLetter::size);
                from = oldest.offset + 1;
            }
        }
        position = fetched.next;
    }
    Ok((from, seen))
}

/// The offset back to which a partition was read, and the earliest time of the records there: no older record counts as
/// newer.
#[derive(Debug, Clone, Copy)]
struct Reached {
    offset: i64,
    time: i64,
}

/// The rank of a dead letter on its page; the newest has the greatest. Within a partition it follows the offset.
type Rank = (i64, Reverse<usize>, i64);

/// The newest dead letters so far.
struct PageBuilder {
    found: BTreeMap<Rank, DeadLetter>,
    bytes: usize,
    limit: usize,
    /// A dead letter that ranks lower is for a later page.
    floor: Option<Rank>,
    reached: Vec<Reached>,
    /// For each partition, the offset after the first dead letter that is for a later page.
    cuts: Vec<Option<i64>>,
}

impl PageBuilder {
    fn new(limit: usize, partitions: usize) -> Self {
        Self {
            found: BTreeMap::new(),
            bytes: 0,
            limit,
            floor: None,
            reached: vec![Reached { offset: 0, time: i64::MAX }; partitions],
            cuts: vec![None; partitions],
        }
    }

    /// Adds a dead letter, which may push out others; false if it is for a later page.
    fn offer(&mut self, partition: usize, offset: i64, dead_letter: DeadLetter) -> bool {
        let rank = (self.reached[partition].time, Reverse(partition), offset);
        if self.floor.is_some_and(|floor| rank < floor) {
            self.cut(rank);
            return false;
        }
        self.bytes += dead_letter.size();
        self.found.insert(rank, dead_letter);
        while self.found.len() > self.limit || (self.bytes > PAGE_BYTES && self.found.len() > 1) {
            self.drop_oldest();
        }
        self.found.contains_key(&rank)
    }

    fn drop_oldest(&mut self) {
        if let Some((rank, dead_letter)) = self.found.pop_first() {
            self.bytes -= dead_letter.size();
            self.floor = Some(rank);
            self.cut(rank);
        }
    }

    fn cut(&mut self, (_, Reverse(partition), offset): Rank) {
        let cut = &mut self.cuts[partition];
        *cut = Some(cut.map_or(offset + 1, |known| known.max(offset + 1)));
    }

    /// The page, without the dead letters that may be older than one that was not read.
    fn close(mut self, ranges: &[Range<i64>]) -> DlqPage {
        let unseen = self.reached.iter().zip(ranges).filter(|(reached, range)| reached.offset > range.start);
        let newest_unseen = unseen.map(|(reached, _)| reached.time).max().unwrap_or(i64::MIN);
        while self.found.first_key_value().is_some_and(|((time, ..), _)| *time < newest_unseen) {
            self.drop_oldest();
        }
        let ends = self.reached.iter().zip(&self.cuts).map(|(reached, cut)| cut.unwrap_or(reached.offset));
        let ends: Vec<i64> = ends.collect();
        let is_over = ends.iter().zip(ranges).all(|(end, range)| *end <= range.start);
        DlqPage {
            dead_letters: self.found.into_values().rev().collect(),
            next: (!is_over).then_some(DlqCursor(ends)),
        }
    }
}
