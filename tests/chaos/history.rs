//! The history of a run: posts and acknowledgements, the events that each instance processed and when, and all faults.
//!
//! It is kept in memory for the checks, and written to `history.log` for a person to read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use uuid::Uuid;

/// Milliseconds since 1970: instances, brokers and this program share one clock.
pub(crate) type Millis = i64;

/// Now.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A partition of the topic, and an offset.
pub(crate) type TopicOffset = (i32, i64);

/// Whether an event that a client posted is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteState {
    /// It may have been written.
    Unknown,
    /// Kafka has it, as far as its writer was told.
    Acknowledged,
    /// Its transaction was aborted.
    Aborted,
}

/// An event, as its writer knows it.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) user: u32,
    /// Its number among its user's events.
    pub(crate) number: u32,
    pub(crate) state: WriteState,
    /// The highest number of its user that had been sent when it was first acknowledged, where it had been sent more than
    /// once by then: its place is before what was sent later. Otherwise its own.
    pub(crate) before: u32,
    /// When it was sent first.
    sent_at: Millis,
    /// How often it was sent on its way.
    pub(crate) attempts: u32,
    /// How many of these attempts were answered that it was not written.
    pub(crate) unwritten: u32,
    /// Where it was said to be written, each time.
    pub(crate) acknowledged: Vec<TopicOffset>,
    /// When it was said last.
    pub(crate) acknowledged_at: Millis,
    /// Among which numbers of partitions it was sent: see [`History::layout`].
    layouts: (u32, u32),
}

impl Posted {
    /// Whether copies of it may be in two partitions, because it was sent again while partitions were added.
    pub(crate) fn spans_partition_counts(&self) -> bool {
        let (first, last) = self.layouts;
        self.attempts > 1 && (first != last || first % 2 == 1)
    }
}

/// The line that an instance wrote when it processed an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processed {
    pub(crate) at: Millis,
    pub(crate) run: usize,
    pub(crate) id: Uuid,
    pub(crate) place: TopicOffset,
}

/// One process of an instance, from its start to its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) instance: usize,
    /// When it said that it was assigned what.
    pub(crate) assignments: Vec<(Millis, BTreeSet<i32>)>,
    /// When it was stopped, and when it went on.
    pub(crate) pauses: Vec<(Millis, Millis)>,
    /// When it was killed without a word.
    pub(crate) killed: Option<Millis>,
}

/// Everything that is known, of the topic as it is now.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) posted: HashMap<Uuid, Posted>,
    /// The highest number of each user that was sent.
    latest: HashMap<u32, u32>,
    /// Events of the topic before it was deleted and made again.
    pub(crate) of_before: HashMap<Uuid, WriteState>,
    /// Malformed records that were acknowledged, by their key.
    pub(crate) malformed: BTreeMap<String, TopicOffset>,
    pub(crate) processed: Vec<Processed>,
    pub(crate) runs: Vec<Run>,
    /// Posts without an answer in time: to which instance, from when until when.
    pub(crate) unanswered: Vec<(usize, Millis, Millis)>,
    /// Answers to streams that are not those of their lines.
    pub(crate) wrong_receipts: Vec<String>,
    /// An incident that is no fault of the schedule, such as an instance that ended by itself.
    pub(crate) unexpected: Vec<String>,
    /// When the group's offsets were set back to the beginning, from when until when.
    pub(crate) resets: Vec<(Millis, Millis)>,
    /// Since when the topic is the one that it is.
    pub(crate) since: Millis,
    /// Since when nobody holds partitions of the one before.
    pub(crate) settled: Millis,
    layout: u32,
    pub(crate) figures: Figures,
}

/// For so long after the topic was made again a member may hold partitions of the one before, by its lease. KIP-848
/// assigns by topic id: the owner of a new topic's partition does not wait for the owner of the old topic's.
pub(crate) const MADE_AGAIN: Millis = 5_000;

/// Counts of the whole run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    pub(crate) acknowledged: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    /// Streams of many events, and how many of them their clients broke off.
    pub(crate) streams: (u64, u64),
    /// The events that a receipt of a stream acknowledged.
    pub(crate) receipts: u64,
    pub(crate) transactions: (u64, u64, u64),
    pub(crate) malformed: u64,
    pub(crate) processed: u64,
    pub(crate) faults: u64,
    /// How often a schema that was filled from the topic took the place of the one that served.
    pub(crate) rebuilds: u64,
    pub(crate) slowest: Millis,
}

/// Shared by everyone who sees something happen.
#[derive(Debug)]
pub(crate) struct History {
    known: Mutex<Known>,
    file: Mutex<BufWriter<File>>,
}

impl History {
    pub(crate) fn begin(directory: &Path) -> Result<Self> {
        let path = directory.join("history.log");
        let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
        let known = Known { since: now(), ..Known::default() };
        Ok(Self { known: Mutex::new(known), file: Mutex::new(BufWriter::new(file)) })
    }

    /// All that is known, held still.
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line for the file.
    pub(crate) fn write(&self, what: impl Display) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not end the run, which does not depend on the file.
        let _ = writeln!(file, "{} {what}", now());
    }

    /// A line for the file and for whoever watches.
    pub(crate) fn tell(&self, what: impl Display) {
        let time = chrono::Utc::now().format("%H:%M:%S%.3f");
        println!("{time} {what}");
        self.write(what);
    }

    pub(crate) fn flush(&self) {
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    /// An event is about to be sent, maybe again.
    pub(crate) fn sent(&self, id: Uuid, user: u32, number: u32) {
        let mut known = self.known();
        let layout = known.layout;
        let latest = known.latest.entry(user).or_default();
        *latest = number.max(*latest);
        let posted = known.posted.entry(id).or_insert_with(|| Posted {
            user,
            number,
            before: number,
            sent_at: now(),
            state: WriteState::Unknown,
            attempts: 0,
            unwritten: 0,
            acknowledged: Vec::new(),
            acknowledged_at: 0,
            layouts: (layout, layout),
        });
        posted.attempts += 1;
        posted.layouts.1 = layout;
    }

    /// Kafka has it there, says who took it.
    pub(crate) fn acknowledged(&self, id: Uuid, place: TopicOffset) {
        let mut held = self.known();
        let known = &mut *held;
        let Some(posted) = known.posted.get_mut(&id) else { return };
        posted.state = WriteState::Acknowledged;
        posted.acknowledged.push(place);
        posted.acknowledged_at = now();
        posted.layouts.1 = known.layout;
        if posted.acknowledged.len() > 1 {
            known.figures.duplicates += 1;
        } else {
            if posted.attempts > 1 {
                posted.before = known.latest.get(&posted.user).copied().unwrap_or(posted.number);
            }
            known.figures.acknowledged += 1;
            known.figures.slowest = known.figures.slowest.max(posted.acknowledged_at - posted.sent_at);
        }
        drop(held);
        self.write(format_args!("acknowledged {id} {}/{}", place.0, place.1));
    }

    /// The instance that took it says that it was not written.
    pub(crate) fn not_written(&self, id: Uuid) {
        if let Some(posted) = self.known().posted.get_mut(&id) {
            posted.unwritten += 1;
        }
    }

    /// Its transaction was aborted.
    pub(crate) fn aborted(&self, id: Uuid) {
        if let Some(posted) = self.known().posted.get_mut(&id) {
            posted.state = WriteState::Aborted;
        }
    }

    /// Changes with the number of partitions: odd while not everybody knows of it yet.
    pub(crate) fn layout_changes(&self) {
        self.known().layout |= 1;
    }

    /// Everybody knows how many partitions there are; says whether that is news.
    pub(crate) fn layout_is_known(&self) -> bool {
        let mut known = self.known();
        let news = known.layout % 2 == 1;
        known.layout += known.layout % 2;
        news
    }

    pub(crate) fn layout_is_open(&self) -> bool {
        self.known().layout % 2 == 1
    }

    /// The topic was made again: its old records are gone, as was asked.
    pub(crate) fn begin_again(&self) {
        let mut known = self.known();
        let before = std::mem::take(&mut known.posted);
        known.of_before.extend(before.into_iter().map(|(id, posted)| (id, posted.state)));
        known.malformed.clear();
        known.processed.clear();
        known.since = now();
        known.settled = known.since + MADE_AGAIN;
    }

    /// A process of that instance starts; what it is called from now on.
    pub(crate) fn starts(&self, instance: usize) -> usize {
        let mut known = self.known();
        known.runs.push(Run { instance, ..Run::default() });
        known.runs.len() - 1
    }

    pub(crate) fn processed(&self, processed: Processed) {
        let mut known = self.known();
        known.processed.push(processed);
        known.figures.processed += 1;
        drop(known);
        let Processed { at, run, id, place: (partition, offset) } = processed;
        self.write(format_args!("processed run={run} {id} {partition}/{offset} at {at}"));
    }

    /// Something that nobody ordered.
    pub(crate) fn unexpected(&self, what: String) {
        self.tell(&what);
        self.known().unexpected.push(what);
    }
}

/// As events name their user.
pub(crate) fn user_name(user: u32) -> String {
    format!("user-{user}")
}
