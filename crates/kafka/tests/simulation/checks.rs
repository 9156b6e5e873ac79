//! What has to hold all along, and when all faults are over.
//!
//! The checks know two sides: what the library tells its users (acknowledgements, calls of handlers), and what the broker
//! has (logs, commits, assignments). They never look into the library.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use highwater_kafka::{PublishError, Receipt};
use highwater_kafka_broker::{Broker, Holder};
use kafka_protocol::{
    messages::ConsumerProtocolAssignment, protocol::Decodable, records::RecordBatchDecoder,
};

use crate::{
    handovers::{Handovers, host_of},
    members::{GROUP, Item, TOPIC},
    network::HostId,
    trace::Trace,
    world::{MEMBERS, Millis},
};

/// The most partitions that the topic gets.
pub(crate) const MOST_PARTITIONS: i32 = 8;

/// A commit on a connection that its member has given up can arrive after later ones, as long as the network is slow. So
/// what is committed never falls below what was so long ago.
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
    generation: i32,
    handovers: Handovers,
    figures: Figures,
    violation: Option<Violation>,
    /// Keys without an acknowledgement since the last fault was over; `None` before that.
    silent: Option<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The log.
    log: Vec<Item>,
    /// Its end at the look before the last one.
    before: usize,
    /// The first offset that is not done.
    undone: usize,
    /// The offset after the last that a handler was called with.
    called: i64,
    committed: i64,
    /// The commits of the last time, and the one before them.
    commits: VecDeque<(Millis, i64)>,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) acknowledged: u64,
    pub(crate) failed: u64,
    pub(crate) handled: u64,
    pub(crate) rebalances: u64,
}

impl Checks {
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Known { trace, ..Known::default() })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the broker has now.
    pub(crate) fn look(&self, now: Millis, broker: &Broker) {
        let mut known = self.known();
        known.now = now;
        known.look_at_logs(broker);
        known.look_at_owners(broker);
        known.look_at_commits(broker);
    }

    /// Whether something was appended between the last two looks.
    pub(crate) fn was_appended(&self) -> bool {
        self.known().partitions.iter().any(|partition| partition.log.len() > partition.before)
    }

    /// The logs lose what was appended between the last two looks, and a new leader epoch begins. Nobody has heard of it
    /// if all that is on the way gets lost, too.
    pub(crate) fn cut(&self, broker: &Broker) {
        let mut known = self.known();
        let now = known.now;
        for index in 0..known.partitions.len() {
            let end = known.partitions[index].before;
            broker.truncate(TOPIC, index as i32, end as i64);
            let gone = known.partitions[index].log.split_off(end);
            known.trace.line(|| format!("{now} partition {index} loses {gone:?}"));
            gone.iter().for_each(|item| {
                known.written.remove(item);
            });
        }
    }

    /// An event's sending has ended.
    pub(crate) fn sent(&self, item: &Item, result: &Result<Receipt, PublishError>) {
        let mut known = self.known();
        let now = known.now;
        known.trace.line(|| format!("{now} sent {item:?}: {result:?}"));
        match result {
            Ok(receipt) => {
                known.figures.acknowledged += 1;
                if let Some(silent) = &mut known.silent {
                    silent.remove(&item.key);
                }
                known.acknowledge(item, *receipt);
            }
            Err(error) => {
                known.figures.failed += 1;
                if !error.possibly_written() {
                    if known.written.contains(item) {
                        known.broken(Guarantee::Acknowledged, format!("{item:?} is in the log: {error}"));
                    }
                    known.unwritten.insert(item.clone());
                }
            }
        }
    }

    /// A handler's call begins.
    pub(crate) fn batch_begins(&self, host: HostId, partition: i32) {
        let mut known = self.known();
        if let Some(owner) = known.owners.get(&partition).copied().filter(|owner| *owner != host) {
            let what = format!("host {host} begins a batch of partition {partition}, which {owner} has");
            known.broken(Guarantee::OneHolder, what);
        }
        known.handovers.call_begins(host, partition);
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
        let place = known.partition(partition);
        let due = place.called;
        place.called = due.max(offset + 1);
        if offset > due {
            let what = format!("partition {partition}: a handler gets {offset}, and {due} is due");
            known.broken(Guarantee::Order, what);
        }
    }

    /// A record is processed.
    pub(crate) fn done(&self, item: &Item) {
        let mut known = self.known();
        known.figures.handled += 1;
        known.processed.insert(item.clone());
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

    fn look_at_logs(&mut self, broker: &Broker) {
        for (number, end) in (0..).zip(broker.end_offsets(TOPIC)) {
            let place = self.partition(number);
            place.before = place.log.len();
            let from = place.before as i64;
            if end <= from {
                continue;
            }
            for (offset, item) in read(broker, TOPIC, number, from) {
                let expected = self.partition(number).log.len() as i64;
                debug_assert_eq!(offset, expected, "the broker's log has no gaps");
                self.partition(number).log.push(item.clone());
                if self.unwritten.contains(&item) {
                    let what = format!("{item:?} is at {number}/{offset}, and nothing was written");
                    self.broken(Guarantee::Acknowledged, what);
                }
                if !self.written.insert(item.clone()) {
                    self.broken(Guarantee::NoCopies, format!("{item:?} again, at {number}/{offset}"));
                }
            }
        }
        let letters = format!("{TOPIC}.dlq");
        for ((number, end), from) in (0..).zip(broker.end_offsets(&letters)).zip(&mut self.dead_read) {
            if end > *from {
                self.dead.extend(read(broker, &letters, number, *from).map(|(_, item)| item));
                *from = end;
            }
        }
    }

    fn look_at_owners(&mut self, broker: &Broker) {
        if let Some(holders) = broker.holders(GROUP, TOPIC) {
            return self.look_at_holders(holders, &broker.members(GROUP));
        }
        if broker.generation(GROUP) == Some(self.generation) {
            return;
        }
        let mut owners = BTreeMap::new();
        let (generation, assignments) = broker.assignments(GROUP).unwrap_or_default();
        self.generation = generation;
        for (member, mut assignment) in assignments {
            let host = MEMBERS.clone().find(|host| member.starts_with(&format!("m{host}-")));
            let (Some(host), true) = (host, assignment.len() >= 2) else { continue };
            let _version = assignment.split_to(2);
            let assigned = ConsumerProtocolAssignment::decode(&mut assignment, 0);
            let topics = assigned.map(|assigned| assigned.assigned_partitions).unwrap_or_default();
            let partitions = topics.into_iter().flat_map(|topic| topic.partitions);
            owners.extend(partitions.map(|partition| (partition, host)));
        }
        self.take_up(owners);
    }

    fn look_at_holders(&mut self, holders: BTreeMap<i32, Holder>, members: &[String]) {
        let owners = holders.iter().filter_map(|(partition, holder)| Some((*partition, host_of(holder)?)));
        self.take_up(owners.collect());
        if let Some(what) = self.handovers.look(holders, members) {
            self.broken(Guarantee::OneHolder, what);
        }
    }

    fn take_up(&mut self, owners: BTreeMap<i32, HostId>) {
        if owners != self.owners {
            self.figures.rebalances += 1;
            let now = self.now;
            self.trace.line(|| format!("{now} owners {owners:?}"));
            self.owners = owners;
        }
    }

    fn look_at_commits(&mut self, broker: &Broker) {
        for index in 0..self.partitions.len() {
            let Some(committed) = broker.committed(GROUP, TOPIC, index as i32) else { continue };
            let (now, dead, processed) = (self.now, &self.dead, &self.processed);
            let place = &mut self.partitions[index];
            let before = place.committed;
            if committed == before {
                continue;
            }
            place.committed = committed;
            place.commits.push_back((now, committed));
            while place.commits.get(1).is_some_and(|(at, _)| at + OVERTAKEN <= now) {
                place.commits.pop_front();
            }
            let settled = place.commits.front().filter(|(at, _)| at + OVERTAKEN <= now);
            let settled = settled.map_or(0, |(_, committed)| *committed);
            let is_done = |item: &Item| processed.contains(item) || dead.contains(item);
            while place.log.get(place.undone).is_some_and(is_done) {
                place.undone += 1;
            }
            let undone = place.undone as i64;
            self.trace.line(|| format!("{now} partition {index} committed {committed} after {before}"));
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

    fn acknowledge(&mut self, item: &Item, receipt: Receipt) {
        let Receipt { partition, offset, .. } = receipt;
        let log = &self.partition(partition).log;
        let Some(offset) = offset else {
            if !self.written.contains(item) {
                self.broken(Guarantee::Acknowledged, format!("{item:?} was acknowledged, and is not there"));
            }
            return;
        };
        if log.get(offset as usize) != Some(item) {
            let what = format!(
                "{item:?} was acknowledged at {partition}/{offset}, where {:?} is",
                log.get(offset as usize)
            );
            self.broken(Guarantee::Acknowledged, what);
        }
        let last = self.acknowledged.insert((item.key.clone(), partition), (item.number, offset));
        if let Some((number, before)) = last.filter(|(_, before)| *before >= offset) {
            let what = format!("{item:?} is at {partition}/{offset}, and {number} before it at {before}");
            self.broken(Guarantee::Order, what);
        }
    }
}

/// The events of a log from that offset on.
fn read(broker: &Broker, topic: &str, partition: i32, from: i64) -> impl Iterator<Item = (i64, Item)> {
    let mut bytes: Bytes = broker.batches(topic, partition, from);
    let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("the broker's batches are valid");
    let records = sets.into_iter().flat_map(|set| set.records);
    records.filter(move |record| record.offset >= from).map(|record| {
        let value = record.value.expect("every event has a value");
        (record.offset, serde_json::from_slice(&value).expect("every value is an event"))
    })
}
