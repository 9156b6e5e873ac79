//! A Kafka broker in the process, for trying and for tests. It speaks Kafka's protocol over TCP, or over streams that it is
//! given ([`Broker::without_listener`]).
//!
//! It is one node, or one of several ([`Cluster`]), in memory. It knows the requests of rskafka, of highwater-kafka and
//! of kcat, and can be made to fail ([`Faults`]). Its state is behind one lock that is never held
//! across an await. Requests that wait (a fetch, a join, a sync) sleep until it changes, and look again.
//!
//! [`log`], [`groups`] and [`transactions`] are state machines without sockets. The handlers, a file a family
//! of APIs, call them. Connections carry frames.

#![forbid(unsafe_code)]

mod cluster;
mod connection;
mod coordination;
mod faults;
pub mod groups;
mod handlers;
pub mod log;
mod options;
mod partition;
mod replication;
mod requests;
mod state;
mod topics;
pub mod transactions;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{log::LogError, partition::Partition};
pub use cluster::{Cluster, NodeId};
pub use faults::{Fault, Faults};
pub use options::Options;
pub use replication::Message;
pub use state::LogName;
use state::{Shared, State};
use topics::Topic;

/// The id of the only node.
const NODE: NodeId = 1;

/// The time between looks for timeouts of members and rebalances.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// A member that holds a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its member id.
    pub member: String,
    /// Its client id.
    pub client_id: String,
}

/// A node's replica of a partition.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaStatus {
    /// The topic's id, by its own knowledge.
    pub topic: Uuid,
    /// The partition.
    pub partition: i32,
    /// The leader epoch in which it leads, by its own knowledge.
    pub leads: Option<i32>,
    /// The newest leader epoch of its log.
    pub epoch: i32,
    /// All replicas in sync have the records below this offset.
    pub high_watermark: i64,
}

/// A running broker. Its drop stops it and deletes all data.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    sweeper: JoinHandle<()>,
    /// `None` while it is suspended.
    listening: Option<CancellationToken>,
    has_listener: bool,
}

impl Broker {
    /// Starts listening on loopback.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let mut broker = Self::without_listener(listener.local_addr()?, options);
        broker.listening = Some(listen(listener, Arc::clone(&broker.shared)));
        broker.has_listener = true;
        Ok(broker)
    }

    /// Starts without a listener: [`Broker::serve`] gives it its connections, and it advertises `address`.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn without_listener(address: SocketAddr, options: Options) -> Self {
        let advertised = options.advertised_port.unwrap_or(address.port());
        let cluster = Cluster::of_one(NODE, SocketAddr::new(address.ip(), advertised));
        Self::in_cluster(&cluster, NODE, address, options)
    }

    /// As [`Broker::without_listener`], one node of several. [`Broker::take_messages`] and [`Broker::receive`] connect them.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn in_cluster(cluster: &Cluster, node: NodeId, address: SocketAddr, options: Options) -> Self {
        let shared = Arc::new(Shared::new(address, cluster.clone(), node, options));
        let sweeper = tokio::spawn(sweep(Arc::clone(&shared)));
        Self { shared, sweeper, listening: Some(CancellationToken::new()), has_listener: false }
    }

    /// Takes over the current metadata of the cluster at once.
    pub fn hear_of_cluster(&self) {
        self.shared.administer(|_| ());
    }

    /// Its replicas of a topic's partitions.
    pub fn replicas(&self, topic: &str) -> Vec<ReplicaStatus> {
        let replica = |topic: Uuid, index: i32, found: &Partition| ReplicaStatus {
            topic,
            partition: index,
            leads: found.is_led_here().then_some(found.leadership().epoch),
            epoch: found.log().epoch(),
            high_watermark: found.high_watermark(),
        };
        self.shared.with(|state| {
            let topic = state.topics.get(topic).into_iter();
            let of_topic = |topic: &Topic| {
                let (id, partitions) = (topic.id(), (0..).zip(&topic.partitions));
                partitions.map(|(index, found)| replica(id, index, found)).collect::<Vec<_>>()
            };
            topic.flat_map(of_topic).collect()
        })
    }

    /// The epoch in which it coordinates groups, by its own knowledge.
    pub fn coordinates(&self) -> Option<i32> {
        let log = |state: &State| Some(state.coordination.log.leadership().epoch);
        self.shared.with(|state| state.coordination.check().ok().and_then(|()| log(state)))
    }

    /// The client ids of a group's members, and the time since the last request of each.
    pub fn heard(&self, group: &str) -> Vec<(String, Duration)> {
        let now = Instant::now();
        let heard = |(client, at): (String, Instant)| (client, now - at);
        self.shared.with(|state| {
            let group = state.groups.get(group).into_iter();
            group.flat_map(groups::Group::heard).map(heard).collect()
        })
    }

    /// Takes the messages that are to be carried to other nodes.
    pub fn take_messages(&self) -> Vec<(NodeId, Message)> {
        self.shared.take_messages()
    }

    /// Takes a message of another node, unless it is suspended.
    pub fn receive(&self, from: NodeId, message: Message) {
        if self.listening.is_some() {
            self.shared.receive(from, message);
        }
    }

    /// Begins as a new process. Its disk has lost the end of each of these logs, from that offset on.
    pub fn restart(&self, lost: &BTreeMap<LogName, i64>) {
        self.shared.restart(lost);
    }

    /// The end of each of its logs.
    pub fn ends(&self) -> BTreeMap<LogName, i64> {
        self.shared.ends()
    }

    /// Serves a connection until it ends or the broker is suspended, in which state it takes none.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: SocketAddr) {
        if let Some(stop) = &self.listening {
            connection::spawn(stream, peer, &self.shared, stop);
        }
    }

    /// Its address, `host:port`.
    pub fn bootstrap(&self) -> String {
        self.shared.address().to_string()
    }

    /// Its faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Suspends it, as if it were killed: connections break, new ones are refused. The data stay.
    pub fn suspend(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.shared.set_up(false);
            listening.cancel();
        }
    }

    /// Resumes it on the same port with its data.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub async fn resume(&mut self) -> io::Result<()> {
        if self.listening.is_none() {
            self.listening = Some(match self.has_listener {
                true => listen(bind_again(self.shared.address()).await?, Arc::clone(&self.shared)),
                false => CancellationToken::new(),
            });
            self.shared.set_up(true);
        }
        Ok(())
    }

    /// The log end offset of a partition; 0 if there is no such partition.
    pub fn end_offset(&self, topic: &str, partition: i32) -> i64 {
        self.shared.with(|state| state.partition(topic, partition).map_or(0, |found| found.log().end()))
    }

    /// The committed offset of a group, if it has one.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.shared.with(|state| {
            let committed = state.groups.get(group)?.offsets.committed(topic, partition);
            committed.map(|committed| committed.offset)
        })
    }

    /// The metadata of a committed offset.
    pub fn committed_metadata(&self, group: &str, topic: &str, partition: i32) -> Option<String> {
        self.shared.with(|state| {
            let committed = state.groups.get(group)?.offsets.committed(topic, partition);
            committed.map(|committed| committed.metadata.clone())
        })
    }

    /// The batches of a partition from that offset on, one after another.
    pub fn batches(&self, topic: &str, partition: i32, from: i64) -> Bytes {
        let read = |found: &Partition| found.log().read(from, i64::MAX, usize::MAX, true).bytes.freeze();
        self.shared.with(|state| state.partition(topic, partition).map_or_else(Bytes::new, read))
    }

    /// The generation of a group and each member's assignment, as its leader sent it (`ConsumerPartitionAssignor` in Java),
    /// while the group is stable.
    pub fn assignments(&self, group: &str) -> Option<(i32, Vec<(String, Bytes)>)> {
        self.shared.with(|state| {
            let group = state.groups.get(group)?.classic();
            let group = group.filter(|group| group.phase() == groups::Phase::Stable)?;
            let members =
                group.members().iter().map(|(id, member)| (id.clone(), member.assignment().clone()));
            Some((group.generation(), members.collect()))
        })
    }

    /// The holder of each partition of a topic, as the coordinator knows it; `None` if the group is not of the consumer protocol
    /// (KIP-848).
    pub fn holders(&self, group: &str, topic: &str) -> Option<BTreeMap<i32, Holder>> {
        self.shared.with(|state| {
            let group = state.groups.get(group)?.consumer()?;
            let id = state.topics.get(topic).map(Topic::id);
            let held = group.members().iter().flat_map(|(member_id, member)| {
                let holder = Holder { member: member_id.clone(), client_id: member.client_id().to_owned() };
                let of_topic = member.held().filter(|(topic, _)| Some(*topic) == id);
                of_topic.map(move |(_, partition)| (partition, holder.clone()))
            });
            Some(held.collect())
        })
    }

    /// The ids of a group's members.
    pub fn members(&self, group: &str) -> Vec<String> {
        self.shared.with(|state| {
            let group = state.groups.get(group);
            group.map(groups::Group::member_ids).unwrap_or_default()
        })
    }

    /// The reasons that members gave when they left a group (KIP-800).
    pub fn leave_reasons(&self, group: &str) -> Vec<String> {
        let reasons = |state: &State| Some(state.groups.get(group)?.classic()?.leave_reasons.clone());
        self.shared.with(|state| reasons(state).unwrap_or_default())
    }

    /// Deletes records below an offset, as retention does.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        self.shared.change(|state| {
            if let Ok(found) = state.led_mut(topic, partition) {
                found.write(|log| log.delete_before(offset));
            }
        });
    }

    /// The log end offset of each of a topic's partitions; none if there is no such topic.
    pub fn end_offsets(&self, topic: &str) -> Vec<i64> {
        self.shared.with(|state| {
            let topic = state.topics.get(topic).into_iter();
            topic.flat_map(|topic| &topic.partitions).map(|found| found.log().end()).collect()
        })
    }

    /// The generation of a group.
    pub fn generation(&self, group: &str) -> Option<i32> {
        self.shared.with(|state| Some(state.groups.get(group)?.generation()))
    }

    /// Gives a topic that many partitions: more than it has.
    pub fn grow(&self, topic: &str, partitions: i32) {
        self.shared.administer(|cluster| cluster.grow(topic, partitions));
    }

    /// Truncates a log to an offset, as an unclean election can.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        self.shared.truncate(topic, partition, offset);
    }

    /// Compacts a log: see [`log::PartitionLog::compact`].
    pub fn compact(&self, topic: &str) {
        self.shared.change(|state| {
            let topic = state.topics.get_mut(topic);
            let partitions = topic.into_iter().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|found| found.write(|log| log.compact()));
        });
    }

    /// Appends a batch without validation. Only its offsets are set.
    ///
    /// # Errors
    ///
    /// The topic is unknown, or the batch is shorter than a head.
    pub fn append_raw(&self, topic: &str, partition: i32, batch: Bytes) -> Result<i64, LogError> {
        self.shared.change(|state| {
            let found = state.led_mut(topic, partition).map_err(|_| LogError::Unknown)?;
            found.write(|log| log.append_unchecked(batch))
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.suspend();
        self.sweeper.abort();
    }
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(connection::accept(listener, shared, stop.clone())));
    stop
}

/// The port of a dropped listener can be busy for a moment.
async fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let mut attempts = 100;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {
                attempts -= 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bound => return bound,
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        shared.sweep();
    }
}
