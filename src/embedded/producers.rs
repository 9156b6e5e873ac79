//! Idempotent producers and their transactions (KIP-98).

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::log::Head;

/// How many batches of a producer are remembered for each partition (`ProducerStateEntry` in Java).
const REMEMBERED: usize = 5;

/// The producers that asked for an id.
#[derive(Debug, Default)]
pub(super) struct Producers {
    next_id: i64,
    transactional: HashMap<String, Transactional>,
    /// By producer and partition: the batches that were appended last.
    appended: HashMap<(i64, String, i32), VecDeque<Appended>>,
}

/// A batch that a producer numbered, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Appended {
    epoch: i16,
    sequence: i32,
    offset: i64,
}

/// A transactional id's producer.
#[derive(Debug, Clone)]
pub(super) struct Transactional {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    /// The partitions of its open transaction.
    pub(super) partitions: BTreeSet<(String, i32)>,
}

impl Producers {
    /// An id of its own; for a transactional id always the same, with a new epoch each time.
    pub(super) fn init(&mut self, transactional_id: Option<&str>) -> (i64, i16) {
        let Some(transactional_id) = transactional_id else {
            self.next_id += 1;
            return (self.next_id, 0);
        };
        if let Some(known) = self.transactional.get_mut(transactional_id) {
            known.epoch += 1;
            return (known.producer_id, known.epoch);
        }
        self.next_id += 1;
        let new = Transactional { producer_id: self.next_id, epoch: 0, partitions: BTreeSet::new() };
        self.transactional.insert(transactional_id.to_owned(), new);
        (self.next_id, 0)
    }

    /// The producer of that transactional id, when this is still its epoch.
    pub(super) fn current(
        &mut self,
        transactional_id: &str,
        producer_id: i64,
        epoch: i16,
    ) -> Option<&mut Transactional> {
        let known = self.transactional.get_mut(transactional_id)?;
        (known.producer_id == producer_id && known.epoch == epoch).then_some(known)
    }

    /// The offset of a batch that was appended before, if it was.
    pub(super) fn duplicate_of(&self, head: &Head, topic: &str, partition: i32) -> Option<i64> {
        if head.producer_id < 0 || head.base_sequence < 0 {
            return None;
        }
        let appended = self.appended.get(&(head.producer_id, topic.to_owned(), partition))?;
        let same = |appended: &&Appended| {
            (appended.epoch, appended.sequence) == (head.producer_epoch, head.base_sequence)
        };
        appended.iter().find(same).map(|appended| appended.offset)
    }

    pub(super) fn remember(&mut self, head: &Head, topic: &str, partition: i32, offset: i64) {
        if head.producer_id < 0 || head.base_sequence < 0 {
            return;
        }
        let appended = self.appended.entry((head.producer_id, topic.to_owned(), partition)).or_default();
        appended.push_back(Appended { epoch: head.producer_epoch, sequence: head.base_sequence, offset });
        if appended.len() > REMEMBERED {
            appended.pop_front();
        }
    }
}
