//! The partitions that each member has, as the coordinator has it.

use std::collections::BTreeMap;

use highwater_kafka_broker::{Broker, Holder};
use kafka_protocol::{messages::ConsumerProtocolAssignment, protocol::Decodable};

use super::{Guarantee, Known};
use crate::{
    brokers::Brokers,
    members::{GROUP, TOPIC},
    network::HostId,
    world::{MEMBERS, Millis},
};

/// The longest lease that one heartbeat gives.
pub(super) const LONGEST_SESSION: Millis = 12_000;

impl Known {
    /// A broker that does not know that another one coordinates answers heartbeats, and nobody can tell. One that loads its
    /// groups answers without a look, so that a lease by the former goes on.
    pub(super) fn look_for_misled(&mut self, brokers: &Brokers) {
        let coordinator = brokers.coordinator(self.generation.0);
        if coordinator.is_none_or(|loading| loading.coordinates().is_none()) {
            let is_misled = |heard: &&mut Millis| self.now < **heard + LONGEST_SESSION;
            self.misled.values_mut().filter(is_misled).for_each(|heard| *heard = self.now);
        }
        let Some(coordinator) = coordinator else { return };
        for broker in brokers.all().filter(|broker| !std::ptr::eq(*broker, coordinator)) {
            if broker.coordinates().is_none() {
                continue;
            }
            for (client, since) in broker.heard(GROUP) {
                let heard = self.now.saturating_sub(since.as_millis() as Millis);
                if let Some(host) = host_of(&client) {
                    let last = self.misled.entry(host).or_default();
                    *last = heard.max(*last);
                }
            }
        }
    }

    pub(super) fn is_misled(&self, host: HostId) -> bool {
        self.misled.get(&host).is_some_and(|heard| self.now < heard + LONGEST_SESSION)
    }

    /// Whether a host may have a partition that another one has. By KIP-848 partitions are those of a topic's id.
    pub(super) fn may_have_two(&self, host: HostId, partition: i32) -> bool {
        self.assigns_by_id
            && (!self.topics.is_read_by(host, partition) || self.topics.may_have_two_holders(self.now))
    }

    pub(super) fn look_at_owners(&mut self, broker: &Broker) {
        let epoch = broker.coordinates().unwrap_or_default();
        let knows_topic = self.look_at_coordinated(broker);
        if let Some(mut holders) = broker.holders(GROUP, TOPIC) {
            if !knows_topic {
                holders.clear();
            }
            self.assigns_by_id = true;
            self.generation = (epoch, broker.generation(GROUP).unwrap_or_default());
            return self.look_at_holders(holders, &broker.members(GROUP));
        }
        if broker.generation(GROUP).is_some_and(|generation| (epoch, generation) == self.generation) {
            return;
        }
        let mut owners = BTreeMap::new();
        let (generation, assignments) = broker.assignments(GROUP).unwrap_or_default();
        self.generation = (epoch, generation);
        for (member, mut assignment) in assignments {
            let host = host_of(&member);
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
        let owners =
            holders.iter().filter_map(|(partition, holder)| Some((*partition, host_of(&holder.client_id)?)));
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
}

/// The host of a member, by its client id, or by its member id of the classic protocol, which begins with that.
pub(crate) fn host_of(member: &str) -> Option<HostId> {
    let (client, _) = member.split_once('-').unwrap_or((member, ""));
    MEMBERS.clone().find(|host| client == format!("m{host}"))
}
