//! Producer ids and transactions (KIP-98; `TransactionCoordinator` and `TransactionMetadata` in Java).

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::cluster::NodeId;

/// All producers with an id.
#[derive(Debug, Default)]
pub struct Transactions {
    last_id: i64,
    by_name: BTreeMap<String, Transactional>,
}

/// A producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Given by the broker.
    pub producer_id: i64,
    /// Grows by one with each incarnation; older ones are fenced.
    pub epoch: i16,
}

#[derive(Debug)]
struct Transactional {
    identity: Identity,
    timeout: Duration,
    state: TransactionState,
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransactionState {
    /// No transaction yet.
    Empty,
    Ongoing {
        until: Instant,
    },
    Ended {
        committed: bool,
    },
}

/// A transaction's end, to be written to its partitions and groups.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its producer.
    pub producer: Identity,
    /// Whether it was committed; else it was aborted.
    pub committed: bool,
    /// The partitions that it has written to.
    pub partitions: BTreeSet<(String, i32)>,
    /// The groups whose offsets it commits.
    pub groups: BTreeSet<String>,
}

/// Ids of producers that a node may give out (KIP-730 has the controller give out blocks).
const IDS_OF_A_NODE: i64 = 1 << 40;

impl Transactions {
    /// Those of a node: no other node gives out the same ids.
    pub(crate) fn of_node(node: NodeId) -> Self {
        Self { last_id: i64::from(node - 1) * IDS_OF_A_NODE, ..Self::default() }
    }

    /// An id for a producer without transactions.
    pub fn identify(&mut self) -> Identity {
        self.last_id += 1;
        Identity { producer_id: self.last_id, epoch: 0 }
    }

    /// The next epoch of a transactional id. An open transaction of the last one is aborted.
    ///
    /// # Errors
    ///
    /// The caller's epoch is not the last one.
    pub fn incarnate(
        &mut self,
        name: &str,
        timeout: Duration,
        claimed: Option<Identity>,
    ) -> Result<(Identity, Option<Ending>), ResponseError> {
        let Some(known) = self.by_name.get_mut(name) else {
            let identity = self.identify();
            let new = Transactional {
                identity,
                timeout,
                state: TransactionState::Empty,
                partitions: BTreeSet::new(),
                groups: BTreeSet::new(),
            };
            self.by_name.insert(name.to_owned(), new);
            return Ok((identity, None));
        };
        if claimed.is_some_and(|claimed| claimed != known.identity) {
            return Err(ResponseError::ProducerFenced);
        }
        let ending = known.shut_out();
        known.timeout = timeout;
        known.state = TransactionState::Empty;
        if ending.is_none() {
            known.identity.epoch = known.identity.epoch.wrapping_add(1).max(0);
        }
        Ok((known.identity, ending))
    }

    /// Adds partitions to the open transaction.
    ///
    /// # Errors
    ///
    /// The transactional id is unknown, or the epoch is old.
    pub fn add_partitions(
        &mut self,
        name: &str,
        producer: Identity,
        partitions: impl IntoIterator<Item = (String, i32)>,
    ) -> Result<(), ResponseError> {
        let known = self.current(name, producer)?;
        known.begin();
        known.partitions.extend(partitions);
        Ok(())
    }

    /// Adds a group to the open transaction.
    ///
    /// # Errors
    ///
    /// The transactional id is unknown, or the epoch is old.
    pub fn add_group(&mut self, name: &str, producer: Identity, group: &str) -> Result<(), ResponseError> {
        let known = self.current(name, producer)?;
        known.begin();
        known.groups.insert(group.to_owned());
        Ok(())
    }

    /// Checks that the group is in the open transaction.
    ///
    /// # Errors
    ///
    /// It is not, or the transactional id is unknown, or the epoch is old.
    pub fn may_commit(&mut self, name: &str, producer: Identity, group: &str) -> Result<(), ResponseError> {
        match self.current(name, producer)?.groups.contains(group) {
            true => Ok(()),
            false => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Ends the transaction. Nothing is left to write if it has ended so before.
    ///
    /// # Errors
    ///
    /// There is none, or it ended the other way, or the transactional id is unknown, or the epoch is old.
    pub fn end(
        &mut self,
        name: &str,
        producer: Identity,
        committed: bool,
    ) -> Result<Option<Ending>, ResponseError> {
        let known = self.current(name, producer)?;
        match known.state {
            TransactionState::Ongoing { .. } => Ok(Some(known.end(committed))),
            TransactionState::Ended { committed: before } if before == committed => Ok(None),
            TransactionState::Ended { .. } | TransactionState::Empty => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Aborts transactions that have timed out, and fences their producers.
    pub fn sweep(&mut self) -> Vec<Ending> {
        let now = Instant::now();
        let late = self.by_name.values_mut().filter(|known| match known.state {
            TransactionState::Ongoing { until } => now >= until,
            TransactionState::Empty | TransactionState::Ended { .. } => false,
        });
        late.filter_map(Transactional::shut_out).collect()
    }

    fn current(&mut self, name: &str, producer: Identity) -> Result<&mut Transactional, ResponseError> {
        let known = self.by_name.get_mut(name);
        let known = known.filter(|known| known.identity.producer_id == producer.producer_id);
        let known = known.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if known.identity.epoch == producer.epoch { Ok(known) } else { Err(ResponseError::ProducerFenced) }
    }
}

impl Transactional {
    fn begin(&mut self) {
        if !matches!(self.state, TransactionState::Ongoing { .. }) {
            self.state = TransactionState::Ongoing { until: Instant::now() + self.timeout };
        }
    }

    fn end(&mut self, committed: bool) -> Ending {
        self.state = TransactionState::Ended { committed };
        Ending {
            producer: self.identity,
            committed,
            partitions: mem::take(&mut self.partitions),
            groups: mem::take(&mut self.groups),
        }
    }

    /// Aborts the open transaction under the next epoch, so that its markers fence the old one everywhere.
    fn shut_out(&mut self) -> Option<Ending> {
        matches!(self.state, TransactionState::Ongoing { .. }).then(|| {
            self.identity.epoch = self.identity.epoch.wrapping_add(1).max(0);
            self.end(false)
        })
    }
}
