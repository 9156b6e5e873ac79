//! The idempotent producers of a partition (KIP-98, `ProducerStateManager` in Java).

use std::collections::{BTreeMap, VecDeque};

use super::{LogError, batch::Head};

/// The batches that are remembered of each producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const REMEMBERED: usize = 5;

/// The last batches of each producer of a partition.
#[derive(Debug, Default)]
pub(super) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    recent: VecDeque<RecentBatch>,
}

#[derive(Debug)]
struct RecentBatch {
    first: i32,
    last: i32,
    offset: i64,
}

impl Producers {
    /// The offset of a batch that is a repeat; `None` for the next one
    /// (`ProducerAppendInfo.maybeValidateDataBatch`).
    pub(super) fn admit(&self, head: &Head) -> Result<Option<i64>, LogError> {
        let Some(known) = self.by_id.get(&head.producer_id).filter(|_| head.is_counted()) else {
            return Ok(None);
        };
        if head.producer_epoch < known.epoch {
            return Err(LogError::FencedProducer);
        }
        if head.producer_epoch > known.epoch {
            return if head.base_sequence == 0 { Ok(None) } else { Err(LogError::OutOfSequence) };
        }
        let same =
            |batch: &&RecentBatch| (batch.first, batch.last) == (head.base_sequence, head.last_sequence());
        if let Some(before) = known.recent.iter().find(same) {
            return Ok(Some(before.offset));
        }
        let due = known.recent.back().map(|batch| batch.last.checked_add(1).unwrap_or(0));
        match due {
            Some(due) if due != head.base_sequence => Err(LogError::OutOfSequence),
            _ => Ok(None),
        }
    }

    pub(super) fn remember(&mut self, head: &Head, offset: i64) {
        if head.producer_id < 0 {
            return;
        }
        let new = || Producer { epoch: head.producer_epoch, recent: VecDeque::new() };
        let known = self.by_id.entry(head.producer_id).or_insert_with(new);
        if known.epoch != head.producer_epoch {
            *known = new();
        }
        if head.is_counted() {
            let (first, last) = (head.base_sequence, head.last_sequence());
            known.recent.push_back(RecentBatch { first, last, offset });
            if known.recent.len() > REMEMBERED {
                known.recent.pop_front();
            }
        }
    }

    /// Whether that offset is of its producer's last batch, which compaction keeps, if only its head.
    pub(super) fn is_last_of(&self, producer_id: i64, offset: i64) -> bool {
        let known = self.by_id.get(&producer_id);
        known.and_then(|known| known.recent.back()).is_some_and(|batch| batch.offset == offset)
    }
}
