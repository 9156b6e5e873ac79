//! Topics that are made again: another topic has the name, and what is known of the one before counts no more.
//!
//! A position belongs to a topic's id, so every record of the new one is handled from its beginning, and no commit of the old
//! one counts. Each broker hears of it at a time of its own. A broker that has not heard yet may acknowledge and serve records
//! of the old topic: those are left out of the checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use highwater_kafka::{CommittedOffset, LogState};
use highwater_kafka_broker::Broker;
use uuid::Uuid;

use super::{Checks, Guarantee, Known, owners::LONGEST_SESSION};
use crate::{
    brokers::Brokers,
    handovers::Handovers,
    members::{GROUP, Item, TOPIC},
    network::HostId,
    world::Millis,
};

/// The topics that have had the name.
#[derive(Debug, Default)]
pub(super) struct Topics {
    /// The newest one.
    pub(super) now: Option<Uuid>,
    /// Whether it is there: it is not between its deletion and the next one.
    is_there: bool,
    /// Whether it is another than the first.
    is_another: bool,
    /// When a broker has last had an earlier topic, or the newest was not there.
    outlived: Option<Millis>,
    /// When the coordinator was first seen to know the newest.
    coordinated: Option<Millis>,
    /// Events that the logs of the earlier ones had.
    before: BTreeSet<Item>,
    /// Of each host and partition: the topic that it has begun to read.
    reads: BTreeMap<(HostId, i32), Uuid>,
    /// When the sending of each key's last event began.
    pub(super) sends: BTreeMap<String, Millis>,
}

impl Checks {
    /// A host begins to read a partition.
    pub(crate) fn reads(&self, host: HostId, partition: i32, log: &LogState) {
        let mut known = self.known();
        let now = known.now;
        known.trace.line(|| format!("{now} host {host} begins to read {partition}: {log:?}"));
        if let Some(id) = log.topic_id {
            known.topics.reads.insert((host, partition), id);
        }
    }
}

impl Topics {
    /// Whether a host reads that partition of the newest topic, as far as it has told.
    pub(super) fn is_read_by(&self, host: HostId, partition: i32) -> bool {
        self.reads.get(&(host, partition)).is_none_or(|id| Some(*id) == self.now)
    }

    /// Whether the event may have been acknowledged, or taken, for an earlier topic: some broker had it still, or knew of none,
    /// after its sending began.
    pub(super) fn may_be_of_another(&self, item: &Item) -> bool {
        let began = self.sends.get(&item.key).copied().unwrap_or(0);
        self.outlived.is_some_and(|until| began <= until)
    }

    /// Whether an earlier topic's log had it.
    pub(super) fn had_before(&self, item: &Item) -> bool {
        self.before.contains(item)
    }

    /// By KIP-848 the coordinator gives the new topic's partitions away without waiting for those of the old one. So both hosts
    /// may have one until the old holder hears of that, or its lease is over.
    pub(super) fn may_have_two_holders(&self, now: Millis) -> bool {
        self.is_another && self.coordinated.is_none_or(|since| now < since + LONGEST_SESSION)
    }
}

impl Known {
    pub(super) fn look_at_topics(&mut self, brokers: &Brokers) {
        let id = brokers.cluster().topic_id(TOPIC);
        self.topics.is_there = id.is_some();
        if let Some(id) = id.filter(|id| self.topics.now != Some(*id))
            && self.topics.now.replace(id).is_some()
        {
            self.begin_again(id);
        }
        let newest = self.topics.now;
        let is_earlier = |broker: &Broker| topic_on(broker).is_some_and(|id| Some(id) != newest);
        if newest.is_some() && (id.is_none() || brokers.all().any(is_earlier)) {
            self.topics.outlived = Some(self.now);
        }
    }

    /// All that is known of the topic's partitions is of another one.
    fn begin_again(&mut self, id: Uuid) {
        let now = self.now;
        self.trace.line(|| format!("{now} the topic is {id} from now on"));
        let before = std::mem::take(&mut self.written);
        self.topics.before.extend(before);
        (self.topics.is_another, self.topics.outlived, self.topics.coordinated) = (true, Some(now), None);
        self.partitions.clear();
        self.processed.clear();
        self.acknowledged.clear();
        self.handovers = Handovers::default();
        self.figures.recreations += 1;
    }

    /// The coordinator knows of the newest topic, or not yet.
    pub(super) fn look_at_coordinated(&mut self, broker: &Broker) -> bool {
        let knows = topic_on(broker) == self.topics.now;
        if knows {
            self.topics.coordinated.get_or_insert(self.now);
        }
        knows
    }

    /// What is committed of a partition of the newest topic.
    pub(super) fn committed(&mut self, broker: &Broker, partition: i32) -> Option<i64> {
        let committed = broker.committed(GROUP, TOPIC, partition);
        if !self.topics.is_another {
            return committed;
        }
        let metadata = broker.committed_metadata(GROUP, TOPIC, partition).unwrap_or_default();
        let topic = CommittedOffset::parse(0, &metadata).topic;
        let counts = committed.filter(|_| topic.is_none_or(|topic| Some(topic) == self.topics.now));
        if counts.is_none() {
            // A coordinator that hears late of the deletion forgets the new topic's offsets, and one of the old topic may be
            // committed later than they are. A member that begins then reads all again.
            let place = self.partition(partition);
            place.commits.clear();
            place.committed = 0;
        }
        counts
    }

    /// A handler is told that a log was truncated, and none was. A topic that is made again is no truncation.
    pub(super) fn look_at_loss(&mut self, partition: i32, offsets: &Range<i64>) {
        if self.topics.is_another {
            let what =
                format!("a handler is told that {partition} lost {offsets:?}, and the topic is another");
            self.broken(Guarantee::Order, what);
        }
    }

    /// A handler that reads the new topic gets what its log has.
    pub(super) fn look_at_record(&mut self, partition: i32, offset: i64, item: &Item) {
        if !self.topics.is_another || !self.topics.is_there {
            return;
        }
        let has = self.partition(partition).log.get(offset as usize).cloned();
        if has.as_ref() != Some(item) {
            let what =
                format!("a handler gets {item:?} at {partition}/{offset}, where the new topic has {has:?}");
            self.broken(Guarantee::Order, what);
        }
    }
}

/// The topic of that name, as a broker knows it.
fn topic_on(broker: &Broker) -> Option<Uuid> {
    broker.replicas(TOPIC).first().map(|replica| replica.topic)
}
