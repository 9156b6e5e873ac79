//! The metadata of a cluster, as a quorum of controllers keeps it (KRaft, KIP-500): its nodes, its topics, and the leader of
//! each partition (`ClusterControlManager`, `ReplicationControlManager` in Java).
//!
//! It is one object that all nodes share, so no fault reaches it. A node that is cut off
//! from it keeps the last image that it got.

mod leadership;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::topics::PartitionCount;
pub(crate) use leadership::Leadership;

/// A node's id.
pub type NodeId = i32;

/// `broker.session.timeout.ms`.
const SESSION_TIMEOUT: Duration = Duration::from_secs(9);

/// The metadata of a cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Mutex<Quorum>>);

#[derive(Debug)]
struct Quorum {
    image: Arc<Image>,
    sessions: BTreeMap<NodeId, Session>,
    session_timeout: Duration,
}

/// A node, as the controller hears of it.
#[derive(Debug, Default)]
struct Session {
    last_heard: Option<Instant>,
    is_cut_off: bool,
}

/// The metadata of the cluster at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    /// Rises with each change.
    pub(crate) version: u64,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) topics: BTreeMap<String, Arc<TopicImage>>,
    /// Of the log of the groups.
    pub(crate) groups: Option<Leadership>,
}

/// A node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// The address that it advertises.
    pub(crate) address: SocketAddr,
    /// Whether it is gone: it leads nothing.
    pub(crate) is_fenced: bool,
}

/// A topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicImage {
    pub(crate) id: Uuid,
    /// The settings that it was created with.
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) partitions: Vec<Leadership>,
}

/// A partition, or the log of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartitionId {
    Groups,
    Topic(Uuid, i32),
}

impl TopicImage {
    /// The replicas of a partition.
    pub(crate) fn replication(&self) -> usize {
        self.partitions.first().map_or(0, |known| known.replicas.len())
    }
}

impl Image {
    fn is_live(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| !node.is_fenced)
    }

    /// The nodes that are there.
    pub(crate) fn live(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        let live = self.nodes.iter().filter(|(_, node)| !node.is_fenced);
        live.map(|(id, node)| (*id, node.address))
    }

    /// The node that coordinates groups, and its address.
    pub(crate) fn coordinator(&self) -> Option<(NodeId, SocketAddr)> {
        let leader = self.groups.as_ref()?.leader?;
        Some((leader, self.nodes.get(&leader)?.address))
    }

    /// Changes the leadership of all partitions.
    fn each(&mut self, mut change: impl FnMut(&mut Leadership)) {
        for topic in self.topics.values_mut() {
            Arc::make_mut(topic).partitions.iter_mut().for_each(&mut change);
        }
        self.groups.iter_mut().for_each(change);
    }

    fn leadership_mut(&mut self, partition: PartitionId) -> Option<&mut Leadership> {
        match partition {
            PartitionId::Groups => self.groups.as_mut(),
            PartitionId::Topic(id, index) => {
                let topic = self.topics.values_mut().find(|topic| topic.id == id)?;
                Arc::make_mut(topic).partitions.get_mut(usize::try_from(index).ok()?)
            }
        }
    }

    fn partition_of(&self, topic: &str, partition: i32) -> Option<&Leadership> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// So many replicas, whose leaders take turns by partition. Nodes that are there come before those that are not, where not
    /// all are taken (`StripedReplicaPlacer`): a partition without one of them would never have a leader.
    fn replicas(&self, partition: usize, count: usize) -> Vec<NodeId> {
        let all = self.nodes.len();
        let mut nodes: Vec<NodeId> =
            self.nodes.keys().copied().cycle().skip(partition % all.max(1)).take(all).collect();
        if count < all {
            nodes.sort_by_key(|node| !self.is_live(*node));
            nodes.truncate(count);
        }
        nodes
    }

    /// A topic that is created now.
    pub(crate) fn topic(
        &self,
        partitions: PartitionCount,
        replicas: usize,
        configs: BTreeMap<String, String>,
    ) -> TopicImage {
        let partitions = self.partitions(0, partitions.get(), replicas);
        TopicImage { id: Uuid::new_v4(), configs, partitions }
    }

    /// The name of the topic that has this id.
    pub(crate) fn name_of(&self, id: Uuid) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    fn partitions(&self, from: usize, upto: usize, replicas: usize) -> Vec<Leadership> {
        let new = |partition| Leadership::new(self.replicas(partition, replicas), |node| self.is_live(node));
        (from..upto).map(new).collect()
    }
}

impl Quorum {
    /// Changes the metadata.
    fn change<T>(&mut self, change: impl FnOnce(&mut Image) -> T) -> T {
        let image = Arc::make_mut(&mut self.image);
        image.version += 1;
        change(image)
    }

    fn fence(&mut self, node: NodeId) {
        if !self.image.is_live(node) {
            return;
        }
        self.change(|image| {
            if let Some(node) = image.nodes.get_mut(&node) {
                node.is_fenced = true;
            }
            let nodes = image.nodes.clone();
            image
                .each(|known| known.leave(node, |node| nodes.get(&node).is_some_and(|node| !node.is_fenced)));
        });
    }

    fn unfence(&mut self, node: NodeId) {
        if self.image.is_live(node) {
            return;
        }
        self.change(|image| {
            if let Some(node) = image.nodes.get_mut(&node) {
                node.is_fenced = false;
            }
            let nodes = image.nodes.clone();
            image.each(|known| known.come(|node| nodes.get(&node).is_some_and(|node| !node.is_fenced)));
        });
    }
}

impl Cluster {
    /// A cluster of these nodes, each with the address that it advertises. A node that is not heard of for
    /// `session_timeout` counts as gone.
    pub fn new(nodes: impl IntoIterator<Item = (NodeId, SocketAddr)>, session_timeout: Duration) -> Self {
        let nodes = nodes.into_iter().map(|(id, address)| (id, Node { address, is_fenced: false }));
        let mut image = Image { version: 1, nodes: nodes.collect(), ..Image::default() };
        let all = image.nodes.len();
        image.groups = image.partitions(0, 1, all).pop();
        let sessions = image.nodes.keys().map(|id| (*id, Session::default())).collect();
        Self(Arc::new(Mutex::new(Quorum { image: Arc::new(image), sessions, session_timeout })))
    }

    /// A cluster of one node.
    pub(crate) fn of_one(node: NodeId, address: SocketAddr) -> Self {
        Self::new([(node, address)], SESSION_TIMEOUT)
    }

    fn quorum(&self) -> MutexGuard<'_, Quorum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current metadata.
    pub(crate) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.quorum().image)
    }

    /// A node is there. Those that were not heard of for too long count as gone from now on. Returns the metadata; `None` if
    /// the node is cut off.
    pub(crate) fn heartbeat(&self, node: NodeId, now: Instant) -> Option<Arc<Image>> {
        let mut quorum = self.quorum();
        let session = quorum.sessions.get_mut(&node).filter(|session| !session.is_cut_off)?;
        session.last_heard = Some(now);
        quorum.unfence(node);
        let late = quorum.sessions.iter().filter(|(_, session)| {
            session.last_heard.is_some_and(|heard| now >= heard + quorum.session_timeout)
        });
        let late: Vec<NodeId> = late.map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| quorum.fence(id));
        Some(Arc::clone(&quorum.image))
    }

    /// A leader changes the set of replicas in sync (KIP-497, AlterPartition). Returns the new leadership. `None` if the node does
    /// not lead, does not know of the last change, is cut off, or names a replica that is gone.
    pub(crate) fn alter_in_sync(
        &self,
        partition: PartitionId,
        by: NodeId,
        known: &Leadership,
        in_sync: Vec<NodeId>,
    ) -> Option<Leadership> {
        let mut quorum = self.quorum();
        let is_cut_off = quorum.sessions.get(&by).is_none_or(|session| session.is_cut_off);
        if is_cut_off || !in_sync.iter().all(|node| quorum.image.is_live(*node)) {
            return None;
        }
        quorum.change(|image| {
            let now = image.leadership_mut(partition)?;
            if now.leader != Some(by) || now.version != known.version {
                return None;
            }
            now.in_sync = in_sync;
            now.version += 1;
            Some(now.clone())
        })
    }

    /// Creates a topic. `None` if there is one of that name.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: PartitionCount,
        replicas: usize,
        configs: BTreeMap<String, String>,
    ) -> Option<Arc<TopicImage>> {
        let mut quorum = self.quorum();
        if quorum.image.topics.contains_key(name) {
            return None;
        }
        let topic = Arc::new(quorum.image.topic(partitions, replicas, configs));
        quorum.change(|image| image.topics.insert(name.to_owned(), Arc::clone(&topic)));
        Some(topic)
    }

    pub(crate) fn delete(&self, name: &str) -> Option<Arc<TopicImage>> {
        self.quorum().change(|image| image.topics.remove(name))
    }

    /// Gives a topic more partitions.
    pub(crate) fn add_partitions(&self, name: &str, count: PartitionCount) {
        let mut quorum = self.quorum();
        let Some(topic) = quorum.image.topics.get(name) else { return };
        let replicas = topic.replication();
        let new = quorum.image.partitions(topic.partitions.len(), count.get(), replicas);
        quorum.change(|image| {
            if let Some(topic) = image.topics.get_mut(name) {
                Arc::make_mut(topic).partitions.extend(new);
            }
        });
    }

    /// The leader of a partition begins another epoch.
    pub(crate) fn begin_epoch(&self, partition: PartitionId) {
        self.quorum().change(|image| image.leadership_mut(partition).map(Leadership::begin_epoch));
    }

    /// The leader of a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.quorum().image.partition_of(topic, partition)?.leader
    }

    /// The epoch of a partition's leader.
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> Option<i32> {
        Some(self.quorum().image.partition_of(topic, partition)?.epoch)
    }

    /// The replicas of a partition that are in sync.
    pub fn in_sync(&self, topic: &str, partition: i32) -> Vec<NodeId> {
        let quorum = self.quorum();
        quorum.image.partition_of(topic, partition).map(|known| known.in_sync.clone()).unwrap_or_default()
    }

    /// The number of a topic's partitions.
    pub fn partitions(&self, topic: &str) -> usize {
        self.quorum().image.topics.get(topic).map_or(0, |topic| topic.partitions.len())
    }

    /// The node that coordinates groups.
    pub fn coordinator(&self) -> Option<NodeId> {
        self.quorum().image.groups.as_ref()?.leader
    }

    /// Whether no partition needs this node: another one has all that was acknowledged.
    pub fn can_spare(&self, node: NodeId) -> bool {
        let quorum = self.quorum();
        let topics = quorum.image.topics.values().flat_map(|topic| &topic.partitions);
        let mut all = topics.chain(&quorum.image.groups);
        all.all(|known| known.in_sync.iter().any(|other| *other != node))
    }

    /// Cuts a node off from the metadata, or connects it again.
    pub fn cut_off(&self, node: NodeId, is_cut_off: bool) {
        if let Some(session) = self.quorum().sessions.get_mut(&node) {
            session.is_cut_off = is_cut_off;
        }
    }

    /// A node is gone, and that is known at once: it was killed, or started again. It is there again with its next sign.
    pub fn fence(&self, node: NodeId) {
        self.quorum().fence(node);
    }

    /// The next replica in sync leads each partition, and coordinates.
    pub fn elect_next(&self) {
        self.quorum().change(|image| {
            let nodes = image.nodes.clone();
            image.each(|known| {
                known.elect_next(|node| nodes.get(&node).is_some_and(|node| !node.is_fenced));
            });
        });
    }

    /// A node leads a partition, though it may lack acknowledged records.
    pub fn elect_uncleanly(&self, topic: &str, partition: i32, node: NodeId) {
        let mut quorum = self.quorum();
        let Some(id) = quorum.image.topics.get(topic).map(|topic| topic.id) else { return };
        quorum.change(|image| {
            let known = image.leadership_mut(PartitionId::Topic(id, partition));
            known.filter(|known| known.replicas.contains(&node)).map(|known| known.elect_uncleanly(node))
        });
    }

    /// Gives a topic that many partitions: more than it has.
    pub fn grow(&self, topic: &str, partitions: i32) {
        if let Some(count) = PartitionCount::new(partitions) {
            self.add_partitions(topic, count);
        }
    }

    /// The id of a topic.
    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        Some(self.quorum().image.topics.get(name)?.id)
    }

    /// Deletes a topic. With `again` it is made again at once, with as many partitions and the same settings.
    pub fn delete_topic(&self, name: &str, again: bool) {
        let Some(gone) = self.delete(name).filter(|_| again) else { return };
        if let Some(count) = i32::try_from(gone.partitions.len()).ok().and_then(PartitionCount::new) {
            self.create(name, count, gone.replication(), gone.configs.clone());
        }
    }
}
