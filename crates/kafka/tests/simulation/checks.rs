//! What has to hold all along, and when all faults are over.
//!
//! The checks know two sides: what the library tells its users (acknowledgements, calls of handlers), and what the broker
//! has (logs, commits, assignments). They never look into the library.

mod acknowledgements;
mod logs;
mod owners;
mod topics;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(crate) use owners::host_of;
use topics::Topics;

use highwater_kafka_broker::Broker;

use crate::{
    brokers::Brokers, handovers::Handovers, histories::Histories, members::Item, network::HostId,
    trace::Trace, world::Millis,
};

/// The most partitions that the topic gets.
pub(crate) const MOST_PARTITIONS: i32 = 8;

/// A commit on a connection that its member has given up can arrive after later ones, as long as the network is slow, or holds
/// back what members send. So what is committed never falls below what was so long before.
const OVERTAKEN: Millis = 10_000;

/// A guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    /// No offset is committed above a record that is not processed, nor goes a committed one back for good.
    Commits,
    /// No member begins a batch of a partition that the group has given to another, nor gives one up that it works on.
    OneHolder,
    /// What was acknowledged is in the log, where the acknowledgement says; what was refused is not.
    Acknowledged,
    /// The log has each event once.
    NoCopies,
    /// Acknowledged events of a key are in the order in which they were sent, and handlers get each partition in order,
    /// without a gap.
    Order,
    /// When the last fault is over, all goes on, and everything is processed in time.
    Liveness,
    /// Nothing panics: neither the library, nor the broker, nor the simulation.
    NoPanic,
    /// Nothing runs or waits for ever within a moment of simulated time.
    NoHang,
}

/// A guarantee that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) guarantee: Guarantee,
    pub(crate) at: Millis,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} s: {}", self.guarantee, self.at as f64 / 1000.0, self.what)
    }
}

/// All that is known of a run. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Checks(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    now: Millis,
    trace: Trace,
    topics: Topics,
    partitions: Vec<Partition>,
    /// The dead letters that are in their log, and how far each of its partitions was read.
    dead: BTreeSet<Item>,
    dead_read: [i64; MOST_PARTITIONS as usize],
    /// Events in the log, and those of which it was said that they are not.
    written: BTreeSet<Item>,
    /// Those that a handler has returned for.
    processed: BTreeSet<Item>,
    unwritten: BTreeSet<Item>,
    /// Of each key and partition: the last acknowledged event and its offset.
    acknowledged: BTreeMap<(String, i32), (u64, i64)>,
    /// Who has which partition, as the coordinator has it.
    owners: BTreeMap<i32, HostId>,
    /// Whether it assigns partitions of a topic's id, as by KIP-848.
    assigns_by_id: bool,
    /// The epoch of the coordinator, and the group's generation.
    generation: (i32, i32),
    handovers: Handovers,
    /// When each host's process began.
    started: BTreeMap<HostId, Millis>,
    /// The beginning and the end of each time for which the network held back what a member sent.
    held: Vec<(Millis, Millis)>,
    /// When a broker that is the coordinator no more, and does not know that, has heard last of a host.
    misled: BTreeMap<HostId, Millis>,
    figures: Figures,
    violation: Option<Violation>,
    /// Keys without an acknowledgement since the last fault was over; `None` before that.
    silent: Option<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The log: what all replicas in sync have.
    log: Vec<Item>,
    /// The leader epoch in which that was compared last.
    compared: i32,
    histories: Histories,
    /// The first offset that is not done.
    undone: usize,
    /// The offset after the last that a handler was called with.
    called: i64,
    /// The last call of a handler with each offset.
    calls: BTreeMap<i64, Call>,
    /// Events of a history that took another's place, which no member could know of, or which it may have had before.
    excused: Range<i64>,
    committed: i64,
    /// The commits of the last time, and the one before them.
    commits: VecDeque<(Millis, i64)>,
}

/// A call of a handler: of which host, in which epoch of the coordinator and generation of the group, and when.
#[derive(Debug, Clone, Copy)]
struct Call {
    host: HostId,
    generation: (i32, i32),
    at: Millis,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) acknowledged: u64,
    pub(crate) failed: u64,
    pub(crate) handled: u64,
    pub(crate) rebalances: u64,
    pub(crate) truncations: u64,
    pub(crate) recreations: u64,
}

impl Checks {
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Known { trace, ..Known::default() })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the brokers have now.
    pub(crate) fn look(&self, now: Millis, brokers: &Brokers) {
        let mut known = self.known();
        known.now = now;
        known.look_at_topics(brokers);
        known.look_at_logs(brokers);
        known.look_for_misled(brokers);
        if let Some(coordinator) =
            brokers.coordinator(known.generation.0).filter(|broker| broker.coordinates().is_some())
        {
            known.look_at_owners(coordinator);
            known.look_at_commits(coordinator);
        }
    }

    /// A handler is told that the log lost these offsets.
    pub(crate) fn truncated(&self, host: HostId, partition: i32, offsets: Range<i64>) {
        let mut known = self.known();
        let now = known.now;
        known.trace.line(|| format!("{now} host {host} is told that {partition} lost {offsets:?}"));
        known.figures.truncations += 1;
        let (generation, started) = (known.generation, known.started.get(&host).copied().unwrap_or(0));
        let place = known.partition(partition);
        let Some(from) = place.histories.to_tell() else { return known.look_at_loss(partition, &offsets) };
        // It goes back, and commits so, whatever was committed of the other history, however late that was replicated.
        place.commits.clear();
        if offsets.start <= from {
            place.histories.told(now);
            return;
        }
        // A member that has read the first of the lost events knows where their epoch began. Another one knows the last epoch.
        let has_read = |call: &Call| (call.host, call.generation) == (host, generation) && started < call.at;
        if !place.calls.get(&from).is_some_and(has_read) {
            place.excused = from..offsets.start;
            place.histories.told(now);
        }
    }

    /// A host's process begins.
    pub(crate) fn started(&self, host: HostId, now: Millis) {
        self.known().started.insert(host, now);
    }

    /// The network holds back what a member sends.
    pub(crate) fn held(&self, now: Millis, during: Millis) {
        self.known().held.push((now, now + during));
    }

    /// A handler's call begins.
    pub(crate) fn batch_begins(&self, host: HostId, partition: i32) {
        let mut known = self.known();
        if let Some(owner) = known.owners.get(&partition).copied().filter(|owner| *owner != host)
            && !known.is_misled(host)
            && !known.may_have_two(host, partition)
        {
            let what = format!("host {host} begins a batch of partition {partition}, which {owner} has");
            known.broken(Guarantee::OneHolder, what);
        }
        if known.topics.is_read_by(host, partition) {
            known.handovers.call_begins(host, partition);
        }
    }

    /// A handler's call ends, or is dropped.
    pub(crate) fn batch_ends(&self, host: HostId, partition: i32) {
        self.known().handovers.call_ends(host, partition);
    }

    /// A handler is called with a record.
    pub(crate) fn called(&self, host: HostId, partition: i32, offset: i64, item: &Item) {
        let mut known = self.known();
        let now = known.now;
        known.trace.line(|| format!("{now} host {host} handles {partition}/{offset} {item:?}"));
        if !known.topics.is_read_by(host, partition) {
            return;
        }
        known.look_at_record(partition, offset, item);
        let call = Call { host, generation: known.generation, at: now };
        let place = known.partition(partition);
        let is_there = place.log.get(offset as usize) == Some(item);
        if !is_there && place.histories.has_lost(offset, item) {
            place.calls.insert(offset, call);
            return;
        }
        if let Some(from) = place.histories.is_to_be_told(offset) {
            let what =
                format!("partition {partition} lost {from} and more, and a handler goes on at {offset}");
            known.broken(Guarantee::Order, what);
            return;
        }
        let due = match place.excused.contains(&place.called) {
            true => place.excused.end,
            false => place.called,
        };
        place.called = due.max(offset + 1);
        place.calls.insert(offset, call);
        if offset > due {
            let what = format!("partition {partition}: a handler gets {offset}, and {due} is due");
            known.broken(Guarantee::Order, what);
        }
    }

    /// A record is processed.
    pub(crate) fn done(&self, host: HostId, partition: i32, item: &Item) {
        let mut known = self.known();
        known.figures.handled += 1;
        if known.topics.is_read_by(host, partition) {
            known.processed.insert(item.clone());
        }
    }

    /// The last fault is over: from now on every key must be heard of again.
    pub(crate) fn faults_are_over(&self, keys: impl Iterator<Item = String>) {
        self.known().silent = Some(keys.collect());
    }

    /// Whether every key was acknowledged since the last fault.
    pub(crate) fn all_sent_since(&self) -> bool {
        self.known().silent.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// What is still to be done before the run is quiet; `None` if nothing is.
    pub(crate) fn backlog(&self) -> Option<String> {
        let known = self.known();
        if let Some(silent) = known.silent.as_ref().filter(|silent| !silent.is_empty()) {
            return Some(format!("no event of {silent:?} was acknowledged"));
        }
        (0..).zip(&known.partitions).find(|(_, place)| place.committed < place.log.len() as i64).map(
            |(number, place)| {
                format!("partition {number}: {} committed of {}", place.committed, place.log.len())
            },
        )
    }

    /// Nothing went on in time.
    pub(crate) fn stands_still(&self, what: String) {
        self.known().broken(Guarantee::Liveness, what);
    }

    /// The first guarantee that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.known().violation.clone()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.known().figures
    }
}

impl Known {
    fn broken(&mut self, guarantee: Guarantee, what: String) {
        let at = self.now;
        self.trace.line(|| format!("{at} BROKEN {guarantee:?}: {what}"));
        self.violation.get_or_insert(Violation { guarantee, at, what });
    }

    fn partition(&mut self, number: i32) -> &mut Partition {
        let index = number as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, Partition::default);
        }
        &mut self.partitions[index]
    }

    fn look_at_commits(&mut self, broker: &Broker) {
        self.held.retain(|(_, until)| self.now < until + OVERTAKEN);
        let since = self.held.iter().map(|(since, _)| *since).min().unwrap_or(self.now);
        for index in 0..self.partitions.len() {
            let Some(committed) = self.committed(broker, index as i32) else { continue };
            let (now, dead, processed) = (self.now, &self.dead, &self.processed);
            let place = &mut self.partitions[index];
            let before = place.committed;
            if committed == before {
                continue;
            }
            place.committed = committed;
            let is_done = |item: &Item| processed.contains(item) || dead.contains(item);
            while place.log.get(place.undone).is_some_and(is_done)
                || place.excused.contains(&(place.undone as i64))
            {
                place.undone += 1;
            }
            let undone = place.undone as i64;
            self.trace.line(|| format!("{now} partition {index} committed {committed} after {before}"));
            if committed > undone && place.histories.may_have_committed(now, committed) {
                continue;
            }
            place.commits.push_back((now, committed));
            while place.commits.get(1).is_some_and(|(at, _)| at + OVERTAKEN <= since) {
                place.commits.pop_front();
            }
            let settled = place.commits.front().filter(|(at, _)| at + OVERTAKEN <= since);
            let settled = settled.map_or(0, |(_, committed)| *committed);
            if committed < settled {
                let what = format!("partition {index}: {settled} was committed long ago, now {committed}");
                self.broken(Guarantee::Commits, what);
            }
            if committed > undone {
                let what = format!("partition {index}: {committed} is committed, and {undone} not processed");
                self.broken(Guarantee::Commits, what);
            }
        }
    }
}
