//! Where the cluster's brokers are: as the settings say, and as the cluster said last.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kafka_protocol::messages::MetadataResponse;
use log::{info, warn};

use crate::{Cluster, topic, wire::WireError};

/// The addresses of a cluster.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Of the settings: where to begin, and to go back to (KIP-899, "rebootstrap").
    bootstrap: Vec<String>,
    named: Mutex<Named>,
}

/// What the cluster said of itself.
#[derive(Debug, Default)]
struct Named {
    /// By which it is told from another that has come to one of its addresses.
    cluster_id: Option<String>,
    brokers: Vec<Broker>,
    /// How often somebody looked for a broker: another is asked first each time, so that each has its share.
    turn: usize,
}

#[derive(Debug)]
struct Broker {
    address: String,
    /// Set from the beginning of an attempt until it succeeds: those that do not go last.
    doubtful: bool,
}

impl Addresses {
    pub(super) fn new(bootstrap: Vec<String>) -> Self {
        Self { bootstrap, named: Mutex::default() }
    }

    /// Whether the settings have it.
    pub(super) fn is_bootstrap(&self, address: &str) -> bool {
        self.bootstrap.iter().any(|known| known == address)
    }

    /// The brokers that the cluster named last, in the order in which they are to be tried: another first each time.
    pub(super) fn named(&self) -> Vec<String> {
        let mut named = self.lock();
        let Named { brokers, turn, .. } = &mut *named;
        *turn = turn.wrapping_add(1);
        let first = *turn % brokers.len().max(1);
        let in_turn = brokers[first..].iter().chain(&brokers[..first]);
        let (doubtful, good): (Vec<_>, Vec<_>) = in_turn.partition(|broker| broker.doubtful);
        good.into_iter().chain(doubtful).map(|broker| broker.address.clone()).collect()
    }

    /// The addresses of the settings, beginning with another after each call of [`Addresses::named`].
    pub(super) fn bootstrap(&self) -> Vec<String> {
        let first = self.lock().turn % self.bootstrap.len().max(1);
        self.bootstrap[first..].iter().chain(&self.bootstrap[..first]).cloned().collect()
    }

    /// An attempt at that address begins, or it succeeded.
    pub(super) fn tried(&self, address: &str, succeeded: bool) {
        let mut named = self.lock();
        if let Some(broker) = named.brokers.iter_mut().find(|broker| broker.address == address) {
            broker.doubtful = !succeeded;
        }
    }

    /// Takes in what the broker at that address says of its cluster.
    ///
    /// The cluster's id tells ours from a stranger. An address that ours named, and that a broker of another cluster
    /// has now, is forgotten. One of the settings is where our cluster is by definition: what is there now is it, as
    /// where a cluster was deleted and made again.
    ///
    /// # Errors
    ///
    /// It is a stranger, or knows of no broker.
    pub(super) fn learn(
        &self,
        from: &str,
        was_named: bool,
        said: &MetadataResponse,
    ) -> Result<(), WireError> {
        // A broker under ZooKeeper that has just started, until it has heard of them.
        if said.brokers.is_empty() {
            return Err(topic::NO_LEADER);
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
        // Kafka gives no order: the same brokers in another one are no news.
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
