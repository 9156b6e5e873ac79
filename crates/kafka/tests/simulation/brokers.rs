//! The brokers: three nodes of a cluster, each on a host of its own.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use highwater_kafka_broker::{Broker, Cluster, LogName, NodeId, Options};

use crate::{
    host::Host,
    members::{Settings, TOPIC},
    network::{HostId, Network, address_of},
    random::Random,
    world::{BROKERS, Millis},
};

/// A broker's disk has what its logs had so long ago, and twice that at most.
const FLUSHED_EVERY: Millis = 1_000;

/// All brokers, and the metadata of their cluster, which no fault reaches.
pub(crate) struct Brokers {
    cluster: Cluster,
    nodes: Vec<Node>,
    flushed_at: Millis,
}

struct Node {
    broker: Broker,
    /// While it is down: when it is started again, and what its disk lacks then.
    down: Option<(Millis, BTreeMap<LogName, i64>)>,
    cut_off_until: Millis,
    /// Where its logs ended when its disk had all, and the time before.
    flushed: [BTreeMap<LogName, i64>; 2],
}

/// The node on a host.
pub(crate) fn node_on(host: HostId) -> NodeId {
    host as NodeId + 1
}

/// Whether a run's coordinators load their groups for long. In most they do not: while that lasts, no commit is taken.
pub(crate) fn groups_load_slowly(seed: u64) -> bool {
    Random::named(seed, "load").percent(25)
}

/// The host of a node.
pub(crate) fn host_of(node: NodeId) -> HostId {
    node as HostId - 1
}

impl Brokers {
    /// Starts each on its host. The settings are drawn from the seed.
    pub(crate) fn start(seed: u64, settings: &Settings, hosts: &mut [Host], network: &Network) -> Self {
        let mut random = Random::named(seed, "brokers");
        let address = |host| -> SocketAddr { address_of(host).parse().expect("an address") };
        let session = Duration::from_millis(random.between(2_000..=9_000));
        let cluster = Cluster::new(BROKERS.map(|host| (node_on(host), address(host))), session);
        let replica_lag = Duration::from_millis(random.between(1_000..=10_000));
        let mut loading = Random::named(seed, "load time");
        let longest_load = if groups_load_slowly(seed) { 15_000 } else { 0 };
        let nodes = BROKERS.map(|host| {
            let metadata_delay = Duration::from_millis(random.between(0..=2_000));
            let group_load_time = Duration::from_millis(loading.between(0..=longest_load));
            let options = Options { metadata_delay, replica_lag, group_load_time, ..settings.broker() };
            let start = async || Broker::in_cluster(&cluster, node_on(host), address(host), options);
            let broker = hosts[host].start(0, start);
            network.listen(host, true);
            Node { broker, down: None, cut_off_until: 0, flushed: Default::default() }
        });
        let nodes = nodes.collect();
        Self { cluster, nodes, flushed_at: 0 }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn on(&self, host: HostId) -> &Broker {
        &self.nodes[host].broker
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Broker> {
        self.nodes.iter().map(|node| &node.broker)
    }

    /// The node that coordinates groups, as the cluster has it. If none does, the last one goes on, as far as it knows: only it
    /// has all, so nobody else can be elected. It coordinates in that leader epoch or a later one.
    pub(crate) fn coordinator(&self, since: i32) -> Option<&Broker> {
        let goes_on = |broker: &&Broker| broker.coordinates().is_some_and(|epoch| epoch >= since);
        let elected = self.cluster.coordinator().map(|node| self.on(host_of(node)));
        elected.or_else(|| self.all().find(goes_on))
    }

    /// Begins a tick: what is to start again starts, and what has arrived is taken.
    pub(crate) fn begin_tick(&mut self, now: Millis, hosts: &mut [Host], network: &Network) {
        for (host, node) in self.nodes.iter_mut().enumerate() {
            self.cluster.cut_off(node_on(host), now < node.cut_off_until);
            if !hosts[host].is_running() {
                continue;
            }
            let is_due = node.down.as_ref().is_some_and(|(at, _)| *at <= now);
            if let Some((_, lost)) = node.down.take_if(|_| is_due) {
                let broker = &mut node.broker;
                let resumed = hosts[host].within(now, async || {
                    broker.restart(&lost);
                    broker.resume().await
                });
                resumed.expect("its host is up").expect("there is no port to bind");
                network.listen(host, true);
            }
            let (streams, messages) = network.arrived(host);
            if streams.is_empty() && messages.is_empty() {
                continue;
            }
            let peer = SocketAddr::from(([10, 0, 0, 1], 1));
            let broker = &node.broker;
            hosts[host].within(now, async || {
                streams.into_iter().for_each(|stream| broker.serve(stream, peer));
                messages.into_iter().for_each(|(from, message)| broker.receive(node_on(from), message));
            });
        }
    }

    /// Ends a tick: what the brokers have for one another is sent.
    pub(crate) fn end_tick(&mut self, now: Millis, network: &Network) {
        for (host, node) in self.nodes.iter().enumerate() {
            for (to, message) in node.broker.take_messages() {
                network.post(host, host_of(to), message);
            }
        }
        if now >= self.flushed_at + FLUSHED_EVERY {
            self.flushed_at = now;
            for node in &mut self.nodes {
                let [older, newer] = std::mem::take(&mut node.flushed);
                drop(older);
                node.flushed = [newer, node.broker.ends()];
            }
        }
    }

    /// A broker is killed, unless it is down.
    pub(crate) fn crash(&mut self, host: HostId, until: Millis, loses: bool, network: &Network) {
        let node = &mut self.nodes[host];
        if node.down.is_some() {
            return;
        }
        node.broker.suspend();
        network.listen(host, false);
        network.reset(host);
        let mut lost = BTreeMap::new();
        if loses && self.cluster.can_spare(node_on(host)) {
            // Known at once, so that it is not the last one in sync when it comes back.
            self.cluster.fence(node_on(host));
            lost = node.flushed[0].clone();
        }
        node.down = Some((until, lost));
    }

    /// A broker hears nothing of the cluster's metadata.
    pub(crate) fn cut_off(&mut self, host: HostId, until: Millis) {
        let node = &mut self.nodes[host];
        node.cut_off_until = node.cut_off_until.max(until);
    }

    /// A broker leads all partitions of the topic, though it may lack what was acknowledged. All brokers hear of it at once,
    /// and it is left out where one cannot. Returns whether it was done.
    pub(crate) fn elect_uncleanly(&mut self, host: HostId, now: Millis, hosts: &mut [Host]) -> bool {
        let hears = |(host, node): (HostId, &Node)| {
            hosts[host].is_running() && node.down.is_none() && node.cut_off_until <= now
        };
        if !self.nodes.iter().enumerate().all(hears) {
            return false;
        }
        for partition in 0..self.cluster.partitions(TOPIC) as i32 {
            if self.cluster.leader(TOPIC, partition) != Some(node_on(host)) {
                self.cluster.elect_uncleanly(TOPIC, partition, node_on(host));
            }
        }
        for (host, node) in self.nodes.iter().enumerate() {
            hosts[host].within(now, async || node.broker.hear_of_cluster());
        }
        true
    }
}
