//! The state of the broker.

mod shared;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

pub(super) use shared::Shared;

use super::{
    Options,
    cluster::{Cluster, Image, NodeId, PartitionId},
    coordination::Coordination,
    groups::Group,
    partition::Partition,
    replication::Replication,
    topics::{Topic, now_millis},
    transactions::{Ending, Transactions},
};

/// The interval of a node's heartbeats to the cluster, whose answers tell it of changes (`broker.heartbeat.interval.ms`).
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);

/// Topics, groups, transactions, as one node knows and has them.
#[derive(Debug)]
pub(super) struct State {
    pub(super) node: NodeId,
    /// The newest image of the cluster that it has.
    image: Arc<Image>,
    /// The time at which it got an image last.
    refreshed: Option<Instant>,
    /// The time of its last heartbeat to the cluster.
    last_heartbeat: Option<Instant>,
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: HashMap<String, Group>,
    pub(super) coordination: Coordination,
    pub(super) replication: Replication,
    pub(super) transactions: Transactions,
}

impl State {
    fn new(node: NodeId, options: &Options) -> Self {
        Self {
            node,
            image: Arc::default(),
            refreshed: None,
            last_heartbeat: None,
            topics: BTreeMap::new(),
            groups: HashMap::new(),
            coordination: Coordination::new(node, options.group_load_time),
            replication: Replication::default(),
            transactions: Transactions::of_node(node),
        }
    }

    /// The newest image of the cluster that it has.
    pub(super) fn image(&self) -> &Arc<Image> {
        &self.image
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// A partition that this node leads, by its own knowledge.
    ///
    /// # Errors
    ///
    /// There is no such partition, or another node leads it.
    pub(super) fn led(&self, topic: &str, partition: i32) -> Result<&Partition, ResponseError> {
        let found = self.partition(topic, partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if found.is_led_here() { Ok(found) } else { Err(ResponseError::NotLeaderOrFollower) }
    }

    /// As [`State::led`], to be changed.
    pub(super) fn led_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, ResponseError> {
        self.led(topic, partition)?;
        let partitions = self.topics.get_mut(topic).map(|topic| &mut topic.partitions);
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        partitions
            .and_then(|partitions| partitions.get_mut(index))
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// All partitions, and the log of the groups.
    pub(super) fn partitions_mut(&mut self) -> impl Iterator<Item = (PartitionId, &mut Partition)> {
        let topics = self.topics.values_mut().flat_map(Topic::with_ids);
        topics.chain([(PartitionId::Groups, &mut self.coordination.log)])
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        match id {
            PartitionId::Groups => Some(&mut self.coordination.log),
            PartitionId::Topic(topic, partition) => {
                let topic = self.topics.values_mut().find(|known| known.id() == topic)?;
                topic.partitions.get_mut(usize::try_from(partition).ok()?)
            }
        }
    }

    /// Applies an image of the cluster, if it is newer.
    fn apply_image(&mut self, image: Arc<Image>, now: Instant) {
        self.refreshed = Some(now);
        if image.version <= self.image.version {
            return;
        }
        self.image = Arc::clone(&image);
        let is_there =
            |name: &str, topic: &Topic| image.topics.get(name).is_some_and(|now| now.id == topic.id());
        let gone = self.topics.iter().filter(|(name, topic)| !is_there(name, topic));
        let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| self.forget_topic(name));
        for (name, known) in &image.topics {
            let topic = self.topics.entry(name.clone());
            let topic = topic.or_insert_with(|| Topic::new(self.node, known, now));
            topic.apply_image(self.node, known, now);
        }
        if let Some(groups) = &image.groups {
            self.coordination.log.apply_leadership(groups, now);
        }
        self.sync_groups();
    }

    /// A topic was deleted, and with it the offsets that were committed for it.
    fn forget_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
        for (name, group) in &mut self.groups {
            for partition in group.offsets.forget_topic(topic) {
                self.coordination.commit(name, topic, partition, None);
            }
        }
    }

    /// Writes the end of a transaction to its partitions and groups.
    pub(super) fn end_transaction(&mut self, ending: &Ending) {
        let (id, epoch, committed) = (ending.producer.producer_id, ending.producer.epoch, ending.committed);
        for (topic, partition) in &ending.partitions {
            if let Ok(partition) = self.led_mut(topic, *partition) {
                partition.write(|log| log.end_transaction(id, epoch, committed, now_millis()));
            }
        }
        for group in &ending.groups {
            if let Some(group) = self.groups.get_mut(group) {
                group.offsets.end_transaction(id, committed);
            }
        }
    }

    /// Brings the groups in line with their log, after a change of either.
    fn sync_groups(&mut self) {
        self.coordination.sync(&mut self.groups);
    }

    /// Handles timeouts. Returns whether anything changed.
    fn sweep(&mut self) -> bool {
        let late = self.transactions.sweep();
        late.iter().for_each(|ending| self.end_transaction(ending));
        self.groups.values_mut().fold(!late.is_empty(), |any, group| group.sweep() || any)
    }

    /// A number that changes with the high watermark or the leader of each log. Requests wait for such changes.
    fn progress(&mut self) -> u64 {
        self.partitions_mut().fold(0, |sum, (_, partition)| {
            sum.wrapping_mul(31)
                .wrapping_add(partition.high_watermark() as u64)
                .wrapping_mul(31)
                .wrapping_add(partition.leadership().version)
        })
    }

    /// Whether the logs get on, or a leader changes.
    fn progresses(&mut self, act: impl FnOnce(&mut Self)) -> bool {
        let before = self.progress();
        act(self);
        let has = self.progress() != before;
        if has {
            self.sync_groups();
        }
        has
    }

    /// Asks leaders and answers followers, where that is due. At each heartbeat interval it also sends a heartbeat to the cluster,
    /// applies the cluster's changes, proposes other replicas in sync, and loads its groups. Returns whether anything changed.
    fn take_part(&mut self, cluster: &Cluster, options: &Options, now: Instant) -> bool {
        let is_due = self.last_heartbeat.is_none_or(|at| now >= at + HEARTBEAT_INTERVAL);
        if !is_due && !self.replication.is_due(now) {
            return false;
        }
        self.progresses(|state| {
            if is_due {
                state.last_heartbeat = Some(now);
                state.exchange_with(cluster, options, now);
                state.sync_groups();
            }
            state.replicate(now);
        })
    }

    fn exchange_with(&mut self, cluster: &Cluster, options: &Options, now: Instant) {
        let (node, lag) = (self.node, options.replica_lag);
        if let Some(image) = cluster.heartbeat(node, now)
            && self.refreshed.is_none_or(|at| now >= at + options.metadata_delay)
        {
            self.apply_image(image, now);
        }
        for (id, partition) in self.partitions_mut() {
            if let Some(wanted) = partition.wants_in_sync(now, lag)
                && let Some(now_holds) = cluster.alter_in_sync(id, node, partition.leadership(), wanted)
            {
                partition.apply_leadership(&now_holds, now);
            }
        }
    }

    /// Forgets the state that a process has in memory alone, and the end of each log that its disk lost, from that offset on.
    fn restart(&mut self, lost: &BTreeMap<LogName, i64>) {
        (self.image, self.refreshed, self.replication) = Default::default();
        self.partitions_mut().for_each(|(_, partition)| partition.forget_leader());
        for (name, from) in lost {
            let partition = match name {
                LogName::Groups => Some(&mut self.coordination.log),
                LogName::Partition(topic, index) => {
                    let topic = self.topics.get_mut(topic);
                    topic.and_then(|topic| topic.partitions.get_mut(usize::try_from(*index).ok()?))
                }
            };
            if let Some(partition) = partition {
                partition.write(|log| log.cut(*from));
            }
        }
    }

    /// The end of each log.
    fn ends(&self) -> BTreeMap<LogName, i64> {
        let topics = self.topics.iter().flat_map(|(name, topic)| {
            let ends = (0..).zip(&topic.partitions);
            ends.map(|(index, log)| (LogName::Partition(name.clone(), index), log.log().end()))
        });
        topics.chain([(LogName::Groups, self.coordination.log.log().end())]).collect()
    }
}

/// A log of a node, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogName {
    /// That of the groups.
    Groups,
    /// Of a topic's partition.
    Partition(String, i32),
}
