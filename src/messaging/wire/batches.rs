//! A stretch of a log, as a fetch brings it: which of its batches count, and where to read on.

use std::collections::HashSet;

use anyhow::Context as _;
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::AbortedTransaction;

use super::{WireError, batch_head::BatchHead, fetch::malformed, records, unpack::Room};
use crate::messaging::Record;

/// What was decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The records, in order.
    pub records: Vec<Record>,
    /// The offset to read on from.
    pub next: i64,
    /// Whether there is a batch whose records have the broker's time.
    pub append_time: bool,
}

/// Decodes whole record batches (magic 2, KIP-98), leaving out records below `from`, control batches and
/// aborted transactions. The end may be cut in the middle of a batch, as brokers do. What has to be unpacked into more than `most` bytes, counting what each
/// record takes beside its own, is left for the next fetch.
///
/// # Errors
///
/// When nothing in the log moves past `from`: its first batch is in an old format, cut short, corrupt, or
/// takes more than `most` bytes. To go on would be to skip it.
pub fn decode_batches(
    partition: i32,
    mut log: Bytes,
    from: i64,
    mut aborted: Vec<AbortedTransaction>,
    most: usize,
) -> Result<Decoded, WireError> {
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    // Producers within an aborted transaction, until their marker: as Java's CompletedFetch does it.
    let mut aborting = HashSet::new();
    let (mut read, mut next, mut append_time) = (Vec::new(), from, false);
    let (mut room, is_empty) = (Room::new(most), log.is_empty());
    loop {
        let decoded = BatchHead::split_from(&mut log).and_then(|found| {
            let Some((head, batch)) = found else { return Ok(None) };
            let last_offset = head.last_offset();
            while let Some(transaction) = aborted.next_if(|aborted| aborted.first_offset <= last_offset) {
                aborting.insert(transaction.producer_id.0);
            }
            if last_offset < next {
                return Ok(Some((next, Vec::new())));
            }
            append_time |= head.has_append_time();
            let decoded = committed_records(partition, &head, batch, &mut aborting, &mut room);
            decoded.map(|records| Some((last_offset + 1, records))).map_err(|reason| {
                format!("the batch at offset {} cannot be decoded: {reason:#}", head.base_offset)
            })
        });
        match decoded {
            Ok(Some((after, mut records))) => {
                records.retain(|record| record.offset >= next);
                read.append(&mut records);
                next = after;
            }
            Ok(None) => break,
            // What came before is good and is handed out first; the next fetch begins here.
            Err(_) if next > from => break,
            Err(reason) => return Err(malformed(reason)),
        }
    }
    if next == from && !is_empty {
        return Err(malformed("there are bytes, and no whole batch".to_owned()));
    }
    Ok(Decoded { records: read, next, append_time })
}

/// The records of a batch unless they are of an aborted transaction; takes note of one that ends.
fn committed_records(
    partition: i32,
    head: &BatchHead,
    batch: Bytes,
    aborting: &mut HashSet<i64>,
    room: &mut Room,
) -> anyhow::Result<Vec<Record>> {
    if head.is_control() {
        let markers = records::decode(partition, head, batch, room)?;
        if is_abort(&markers)? {
            aborting.remove(&head.producer_id);
        }
        return Ok(Vec::new());
    }
    if head.is_transactional() && aborting.contains(&head.producer_id) {
        return Ok(Vec::new());
    }
    records::decode(partition, head, batch, room)
}

/// A marker's key is its version and its type; type 0 is ABORT (`ControlRecordType` in Java). Compaction leaves
/// batches without their marker.
fn is_abort(markers: &[Record]) -> anyhow::Result<bool> {
    let Some(marker) = markers.first() else { return Ok(false) };
    let key = marker.key.as_ref().filter(|key| key.len() >= 4).context("a marker without a type")?;
    Ok(key[2..4] == [0, 0])
}
