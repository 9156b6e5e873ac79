//! The groups of a node that coordinates: the leader of their log (`__consumer_offsets` in Kafka, with one partition here).
//!
//! Each decision of a coordinator is a record of that log, and counts once it is replicated: a commit, the members of a
//! generation with their assignment, or a step of a member of the consumer protocol. The next coordinator begins with the
//! records of the log. It does not know of a rebalance of the classic protocol that was under way, as in Kafka: the members
//! get an error, by which they are unknown or their generation is over. Where they wait for the answer to a JoinGroup, it is
//! NOT_COORDINATOR.

use std::{collections::HashMap, time::Duration};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{
    cluster::NodeId,
    groups::{Committed, Group},
    partition::Partition,
};

/// A record of the log of the groups.
#[derive(Debug, Clone)]
pub(crate) struct GroupRecord {
    group: String,
    value: GroupRecordValue,
}

#[derive(Debug, Clone)]
enum GroupRecordValue {
    /// The committed offset of a partition; `None` if it is forgotten.
    Offset(String, i32, Option<Committed>),
    /// The group as it is stored; `None` if it is deleted.
    Members(Option<Box<Group>>),
}

/// The subject of a record. Of two records about the same subject the later one counts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Offset(String, String, i32),
    Members(String),
}

impl GroupRecord {
    pub(crate) fn subject(&self) -> Subject {
        match &self.value {
            GroupRecordValue::Offset(topic, partition, _) => {
                Subject::Offset(self.group.clone(), topic.clone(), *partition)
            }
            GroupRecordValue::Members(_) => Subject::Members(self.group.clone()),
        }
    }
}

/// The log of the groups, and the progress of loading and storing the groups.
#[derive(Debug)]
pub(crate) struct Coordination {
    pub(crate) log: Partition,
    /// The leader epoch in which the groups were loaded.
    loaded: Option<i32>,
    /// The leader epoch in which they are being loaded, and the time at which that began.
    loading: Option<(i32, Instant)>,
    /// The least time that loading takes.
    load_time: Duration,
    /// The records below this offset are in the groups.
    applied: i64,
    /// The members of each group in the log, and the offset of their record.
    stored: HashMap<String, (Group, i64)>,
}

impl Coordination {
    pub(crate) fn new(node: NodeId, load_time: Duration) -> Self {
        let (log, stored) = (Partition::new(node), HashMap::new());
        Self { log, loaded: None, loading: None, load_time, applied: 0, stored }
    }

    /// Whether this node coordinates.
    ///
    /// # Errors
    ///
    /// Another node does, or this one has not loaded the groups from the log yet.
    pub(crate) fn check(&self) -> Result<(), ResponseError> {
        match self.loaded {
            _ if !self.log.is_led_here() => Err(ResponseError::NotCoordinator),
            Some(epoch) if epoch == self.log.leadership().epoch => Ok(()),
            _ => Err(ResponseError::CoordinatorLoadInProgress),
        }
    }

    /// The leader epoch in which it coordinates.
    pub(crate) fn epoch(&self) -> i32 {
        self.log.leadership().epoch
    }

    /// Whether this node still coordinates in that leader epoch, so that the records that it wrote then are not lost.
    ///
    /// # Errors
    ///
    /// As [`Coordination::check`].
    pub(crate) fn check_since(&self, epoch: i32) -> Result<(), ResponseError> {
        if self.epoch() == epoch { self.check() } else { Err(ResponseError::NotCoordinator) }
    }

    /// Writes a commit to the log, and returns the offset of its record.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        committed: Option<Committed>,
    ) -> i64 {
        let value = GroupRecordValue::Offset(topic.to_owned(), partition, committed);
        self.append(group, value)
    }

    fn append(&mut self, group: &str, value: GroupRecordValue) -> i64 {
        self.log.write(|log| log.append_group(GroupRecord { group: group.to_owned(), value }))
    }

    /// Whether the record at that offset is replicated.
    pub(crate) fn has_replicated(&self, offset: i64) -> bool {
        offset < self.log.high_watermark()
    }

    /// Whether the record of a group's members is replicated.
    pub(crate) fn has_stored(&self, group: &str) -> bool {
        self.stored.get(group).is_some_and(|(_, offset)| self.has_replicated(*offset))
    }

    /// Brings the groups in line with their log. It loads them where this node now leads the log, and drops them where it does
    /// not. It writes the groups that have changed, and applies the commits that are replicated.
    pub(crate) fn sync(&mut self, groups: &mut HashMap<String, Group>) {
        let replicated = self.log.high_watermark();
        self.log.write(|log| log.compact_groups(replicated));
        if !self.log.is_led_here() {
            groups.clear();
            self.stored.clear();
            self.loaded = None;
            return;
        }
        let epoch = self.log.leadership().epoch;
        if self.loaded != Some(epoch) {
            let now = Instant::now();
            let (_, since) = self.loading.filter(|(of, _)| *of == epoch).unwrap_or((epoch, now));
            self.loading = Some((epoch, since));
            if !self.log.knows_its_end() || now < since + self.load_time {
                groups.clear();
                return;
            }
            self.load(groups);
            self.loaded = Some(epoch);
        }
        self.store(groups);
        let replicated = self.log.high_watermark();
        for record in self.log.log().group_records(self.applied, replicated) {
            if let GroupRecordValue::Offset(topic, partition, committed) = &record.value
                && let Some(group) = groups.get_mut(&record.group)
            {
                group.offsets.set(topic, *partition, committed.clone());
            }
        }
        self.applied = replicated;
    }

    /// Takes the groups from the log (`GroupMetadataManager.loadGroupsAndOffsets`).
    fn load(&mut self, groups: &mut HashMap<String, Group>) {
        groups.clear();
        self.stored.clear();
        self.applied = self.log.log().end();
        for record in self.log.log().group_records(0, self.applied) {
            match &record.value {
                GroupRecordValue::Offset(topic, partition, committed) => {
                    let group = groups.entry(record.group.clone()).or_default();
                    group.offsets.set(topic, *partition, committed.clone());
                }
                GroupRecordValue::Members(Some(members)) => {
                    let group = groups.entry(record.group.clone()).or_default();
                    group.take_over(members);
                    self.stored.insert(record.group.clone(), (Group::clone(members), -1));
                }
                GroupRecordValue::Members(None) => {
                    groups.remove(&record.group);
                    self.stored.remove(&record.group);
                }
            }
        }
    }

    /// Writes the members of each group between two rebalances, where the log has other ones.
    fn store(&mut self, groups: &HashMap<String, Group>) {
        let gone = self.stored.keys().filter(|name| !groups.contains_key(*name)).cloned();
        for name in gone.collect::<Vec<_>>() {
            self.append(&name, GroupRecordValue::Members(None));
            self.stored.remove(&name);
        }
        for (name, group) in groups.iter().filter(|(_, group)| group.is_storable()) {
            if self.stored.get(name).is_some_and(|(stored, _)| group.has_members_of(stored)) {
                continue;
            }
            let members = group.without_offsets();
            let offset = self.append(name, GroupRecordValue::Members(Some(Box::new(members.clone()))));
            self.stored.insert(name.clone(), (members, offset));
        }
    }
}
