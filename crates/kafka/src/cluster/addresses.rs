//! The addresses of a cluster's brokers: the bootstrap addresses, and those that the cluster named last.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kafka_protocol::messages::MetadataResponse;
use log::{info, warn};

use crate::{Cluster, wire::WireError};

/// The addresses of a cluster.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The addresses to begin with, and to go back to (KIP-899: rebootstrap).
    bootstrap: Vec<String>,
    named: Mutex<Named>,
}

/// The cluster's last answer: its id and its brokers.
#[derive(Debug, Default)]
struct Named {
    /// Tells it from another cluster at one of its addresses (KIP-78).
    cluster_id: Option<String>,
    brokers: Vec<Broker>,
    /// Counts the looks for a broker. Each begins with another broker.
    turn: usize,
}

#[derive(Debug)]
struct Broker {
    address: String,
    /// Set when an attempt begins, reset when it succeeds. Doubtful brokers are tried last.
    doubtful: bool,
}

impl Addresses {
    pub(super) fn new(bootstrap: Vec<String>) -> Self {
        Self { bootstrap, named: Mutex::default() }
    }

    /// Whether it is a bootstrap address.
    pub(super) fn is_bootstrap(&self, address: &str) -> bool {
        self.bootstrap.iter().any(|known| known == address)
    }

    /// The brokers that the cluster named, in the order in which to try them.
    pub(super) fn named(&self) -> Vec<String> {
        let mut named = self.lock();
        let Named { brokers, turn, .. } = &mut *named;
        *turn = turn.wrapping_add(1);
        let first = *turn % brokers.len().max(1);
        let in_turn = brokers[first..].iter().chain(&brokers[..first]);
        let (doubtful, good): (Vec<_>, Vec<_>) = in_turn.partition(|broker| broker.doubtful);
        good.into_iter().chain(doubtful).map(|broker| broker.address.clone()).collect()
    }

    /// The bootstrap addresses. The first is another after each call of [`Addresses::named`].
    pub(super) fn bootstrap(&self) -> Vec<String> {
        let first = self.lock().turn % self.bootstrap.len().max(1);
        self.bootstrap[first..].iter().chain(&self.bootstrap[..first]).cloned().collect()
    }

    /// Records that an attempt to connect begins, or that it succeeded.
    pub(super) fn tried(&self, address: &str, succeeded: bool) {
        let mut named = self.lock();
        if let Some(broker) = named.brokers.iter_mut().find(|broker| broker.address == address) {
            broker.doubtful = !succeeded;
        }
    }

    /// Takes over the statement of the broker at `from` about its cluster.
    ///
    /// The cluster's id (KIP-78) tells ours from another. If a broker of another cluster has an address that ours
    /// named, the address is forgotten. A bootstrap address is of our cluster whatever its id: the cluster may have
    /// been deleted and created anew.
    ///
    /// # Errors
    ///
    /// The broker is of another cluster, or knows no broker.
    pub(super) fn learn(
        &self,
        from: &str,
        was_named: bool,
        said: &MetadataResponse,
    ) -> Result<(), WireError> {
        // Under ZooKeeper a broker that has just started knows none.
        if said.brokers.is_empty() {
            return Err(WireError::NO_LEADER);
        }
        let mut named = self.lock();
        let Named { cluster_id, brokers, .. } = &mut *named;
        let said_id = said.cluster_id.as_ref().map(|id| id.as_str().to_owned());
        if let (Some(before), Some(now)) = (&*cluster_id, &said_id)
            && before != now
        {
            if was_named {
                brokers.retain(|broker| broker.address != from);
                let (wanted, found) = (before.clone(), now.clone());
                return Err(WireError::OtherCluster { address: from.to_owned(), wanted, found });
            }
            warn!("{from} is of cluster {now} now, and was of {before}: another cluster has taken its place");
        }
        // Kafka gives them in no order.
        let said: BTreeSet<_> =
            said.brokers.iter().map(|broker| Cluster::address(&broker.host, broker.port)).collect();
        let before = mem::take(brokers);
        let is_doubtful =
            |address: &str| before.iter().any(|known| known.address == address && known.doubtful);
        *brokers =
            said.into_iter().map(|address| Broker { doubtful: is_doubtful(&address), address }).collect();
        if !addresses(brokers).eq(addresses(&before)) {
            info!("the cluster's brokers: {}", addresses(brokers).collect::<Vec<_>>().join(", "));
        }
        *cluster_id = said_id.or(cluster_id.take());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn addresses(brokers: &[Broker]) -> impl Iterator<Item = &str> {
    brokers.iter().map(|broker| broker.address.as_str())
}
