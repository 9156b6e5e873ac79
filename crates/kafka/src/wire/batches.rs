//! Decodes the log of a Fetch response: the batches that count, and the offset to read on from.

use std::{collections::HashSet, iter::Peekable, vec};

use anyhow::Context as _;
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::AbortedTransaction;

use super::{WireError, batch_head::BatchHead, fetch::malformed, message_set, records, unpack::MemoryBudget};
use crate::{LeaderEpochs, Record};

/// The result of decoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decoded {
    /// The records, in order.
    pub records: Vec<Record>,
    /// The offset to read on from.
    pub next: i64,
    /// The leader epochs of the batches, markers and aborted ones included.
    pub epochs: LeaderEpochs,
    /// The offset at which the first batch begins, if that is known.
    pub starts_at: Option<i64>,
}

/// Decodes record batches (magic 2, KIP-98) and older message sets. Leaves out records below `from`, control batches
/// and aborted transactions. The log may end in the middle of a batch, as brokers cut it. A batch that would take the
/// records beyond `most` bytes of memory, each record's own structure included, is left for the next fetch.
///
/// # Errors
///
/// The first batch is in an unknown format, cut short or corrupt, or takes more than `most` bytes. To go on would skip
/// it.
pub fn decode_batches(
    partition: i32,
    mut log: Bytes,
    from: i64,
    mut aborted: Vec<AbortedTransaction>,
    most: usize,
) -> Result<Decoded, WireError> {
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut decoding = Decoding {
        partition,
        aborted: aborted.into_iter().peekable(),
        aborting: HashSet::new(),
        budget: MemoryBudget::new(most),
        epochs: LeaderEpochs::default(),
        starts_at: None,
    };
    let (mut read, mut next, is_empty) = (Vec::new(), from, log.is_empty());
    loop {
        let before = read.len();
        match decoding.split_from(&mut log, next, &mut read) {
            Ok(Some(after)) => {
                let below = read[before..].partition_point(|record: &Record| record.offset < next);
                read.drain(before..before + below);
                next = after;
            }
            Ok(None) => break,
            // The batches before it are good. The next fetch begins here.
            Err(_) if next > from => {
                read.truncate(before);
                break;
            }
            Err(reason) => return Err(malformed(reason)),
        }
    }
    if next == from && !is_empty {
        return Err(malformed("there are bytes, and no whole batch".to_owned()));
    }
    Ok(Decoded { records: read, next, epochs: decoding.epochs, starts_at: decoding.starts_at })
}

struct Decoding {
    partition: i32,
    /// The aborted transactions that begin further on.
    aborted: Peekable<vec::IntoIter<AbortedTransaction>>,
    /// The producers in an aborted transaction, until their marker (`CompletedFetch` in Java).
    aborting: HashSet<i64>,
    budget: MemoryBudget,
    epochs: LeaderEpochs,
    starts_at: Option<i64>,
}

impl Decoding {
    /// Takes the first batch, and appends its records to `read`, also those before an error. Returns the offset to read on
    /// from after it; `None` at the end, or if the rest is cut short.
    fn split_from(
        &mut self,
        log: &mut Bytes,
        next: i64,
        read: &mut Vec<Record>,
    ) -> Result<Option<i64>, String> {
        if matches!(BatchHead::magic(log), Some(0 | 1)) {
            let set = message_set::split_from(log, self.partition, &mut self.budget);
            let set =
                set.map_err(|reason| format!("what is after offset {next} cannot be decoded: {reason:#}"))?;
            return Ok(set.map(|set| {
                self.epochs.push(next, None);
                read.extend(set.records);
                (set.last_offset + 1).max(next)
            }));
        }
        let Some((head, batch)) = BatchHead::split_from(log)? else { return Ok(None) };
        let last_offset = head.last_offset();
        while let Some(transaction) = self.aborted.next_if(|aborted| aborted.first_offset <= last_offset) {
            self.aborting.insert(transaction.producer_id.0);
        }
        if last_offset < next {
            return Ok(Some(next));
        }
        self.read_committed(&head, batch, read).map_err(|reason| {
            format!("the batch at offset {} cannot be decoded: {reason:#}", head.base_offset)
        })?;
        self.starts_at.get_or_insert(head.base_offset);
        self.epochs.push(next, head.leader_epoch());
        Ok(Some(last_offset + 1))
    }

    /// Appends the records of a batch, unless they are of an aborted transaction. A marker ends its transaction.
    fn read_committed(
        &mut self,
        head: &BatchHead,
        batch: Bytes,
        read: &mut Vec<Record>,
    ) -> anyhow::Result<()> {
        let Self { partition, aborting, budget, .. } = self;
        if head.is_control() {
            let mut markers = Vec::new();
            records::decode(*partition, head, batch, budget, &mut markers)?;
            if is_abort(&markers)? {
                aborting.remove(&head.producer_id);
            }
            return Ok(());
        }
        if head.is_transactional() && aborting.contains(&head.producer_id) {
            return Ok(());
        }
        records::decode(*partition, head, batch, budget, read)
    }
}

/// A marker's key is its version and its type; type 0 is ABORT (`ControlRecordType` in Java). Compaction leaves
/// batches without their marker.
fn is_abort(markers: &[Record]) -> anyhow::Result<bool> {
    let Some(marker) = markers.first() else { return Ok(false) };
    let key = marker.key.as_ref().filter(|key| key.len() >= 4).context("a marker without a type")?;
    Ok(key[2..4] == [0, 0])
}
