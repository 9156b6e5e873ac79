//! Partitions that go from one member to another by the coordinator's reconciliation (KIP-848): the member before has said
//! that it has stopped, so no call of its handler may last.

use std::collections::{BTreeMap, BTreeSet};

use highwater_kafka_broker::Holder;

use crate::{checks::host_of, network::HostId};

/// Who holds which partition, and who works on it.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    holders: BTreeMap<i32, Holder>,
    /// Calls of handlers that last.
    calls: BTreeSet<(HostId, i32)>,
}

impl Handovers {
    /// A handler's call begins.
    pub(crate) fn call_begins(&mut self, host: HostId, partition: i32) {
        self.calls.insert((host, partition));
    }

    /// It ends, or is dropped.
    pub(crate) fn call_ends(&mut self, host: HostId, partition: i32) {
        self.calls.remove(&(host, partition));
    }

    /// Takes up who holds what now, and who is in the group. Returns what went wrong: a partition has another holder, and
    /// the one before works on it and was not put out of the group.
    pub(crate) fn look(&mut self, holders: BTreeMap<i32, Holder>, members: &[String]) -> Option<String> {
        let early = self.holders.iter().find_map(|(partition, before)| {
            let (host, now) = (host_of(&before.client_id)?, holders.get(partition)?);
            let works = self.calls.contains(&(host, *partition));
            (now != before && works && members.contains(&before.member)).then(|| {
                format!("host {host} has given up partition {partition} to {now:?}, and works on it")
            })
        });
        self.holders = holders;
        early
    }
}
