//! The committed offsets of a group, and those of open transactions.

use std::collections::BTreeMap;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record; -1 if unknown.
    pub leader_epoch: i32,
    /// The metadata of the commit.
    pub metadata: String,
}

type NamedPartition = (String, i32);

/// The committed offsets of one group.
#[derive(Debug, Clone, Default)]
pub struct Offsets {
    committed: BTreeMap<NamedPartition, Committed>,
    /// The offsets of open transactions, by producer id (KIP-98).
    pending: BTreeMap<i64, Vec<(NamedPartition, Committed)>>,
}

impl Offsets {
    /// Commits an offset.
    pub fn commit(&mut self, topic: &str, partition: i32, committed: Committed) {
        self.committed.insert((topic.to_owned(), partition), committed);
    }

    /// Applies a record of the log: commits an offset, or forgets it.
    pub(crate) fn set(&mut self, topic: &str, partition: i32, committed: Option<Committed>) {
        match committed {
            Some(committed) => self.commit(topic, partition, committed),
            None => drop(self.committed.remove(&(topic.to_owned(), partition))),
        }
    }

    /// Commits an offset when the producer's transaction does.
    pub fn commit_later(&mut self, producer_id: i64, topic: &str, partition: i32, committed: Committed) {
        let pending = self.pending.entry(producer_id).or_default();
        pending.push(((topic.to_owned(), partition), committed));
    }

    /// Ends the producer's transaction.
    pub fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let pending = self.pending.remove(&producer_id).filter(|_| committed);
        self.committed.extend(pending.into_iter().flatten());
    }

    /// The committed offset of a partition.
    pub fn committed(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(&(topic.to_owned(), partition))
    }

    /// Whether an open transaction has an offset for it (KIP-447).
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        let mut pending = self.pending.values().flatten();
        pending.any(|((name, index), _)| name == topic && *index == partition)
    }

    /// Every topic and partition with a committed offset.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.committed.keys().map(|(topic, partition)| (topic.as_str(), *partition))
    }

    /// Forgets a deleted topic. Returns the partitions that had an offset.
    pub fn forget_topic(&mut self, topic: &str) -> Vec<i32> {
        let forgotten =
            self.committed.keys().filter(|(name, _)| name == topic).map(|(_, partition)| *partition);
        let forgotten = forgotten.collect();
        self.committed.retain(|(name, _), _| name != topic);
        self.pending.values_mut().for_each(|pending| pending.retain(|((name, _), _)| name != topic));
        forgotten
    }
}
