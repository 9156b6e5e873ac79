//! A stretch of a log, as a fetch brings it: which of its batches count, and where to read on.

use std::collections::HashSet;

use anyhow::Context as _;
use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_response::AbortedTransaction;

use super::{
    WireError,
    fetch::malformed,
    records::{self, Room},
};
use crate::messaging::Record;

/// Decodes whole record batches (magic 2, KIP-98), leaving out records below `from`, control batches and
/// aborted transactions. The end may be cut in the middle of a batch, as brokers do. Returns the records
/// and the offset to read on from. What has to be unpacked into more than `most` bytes, counting what each
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
) -> Result<(Vec<Record>, i64), WireError> {
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    // Producers within an aborted transaction, until their marker: as Java's CompletedFetch does it.
    let mut aborting = HashSet::new();
    let (mut read, mut next) = (Vec::new(), from);
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
    Ok((read, next))
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

/// The fixed part of a record batch (61 bytes), as far as it says what to do with the batch.
#[derive(Debug)]
pub(super) struct BatchHead {
    pub(super) base_offset: i64,
    attributes: i16,
    last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    producer_id: i64,
    pub(super) records: usize,
}

impl BatchHead {
    pub(super) const SIZE: usize = 61;
    /// The bytes before what the length field counts: base offset and length.
    const BEFORE_LENGTH: usize = 12;
    const MAGIC: usize = 16;
    /// Where what the checksum covers begins.
    const CHECKED: usize = 21;

    /// Takes the first batch off the log, whole and with the checksum that it says; `None` at the end, or
    /// where the rest is a batch cut short.
    fn split_from(log: &mut Bytes) -> Result<Option<(Self, Bytes)>, String> {
        // The old formats have it at the same place, and messages that are smaller than our head.
        let magic = log.get(Self::MAGIC).copied();
        if let Some(magic) = magic.filter(|magic| *magic != 2) {
            let base_offset = log.slice(..8).get_i64();
            return Err(format!("the batch at offset {base_offset} has the old format {magic}"));
        }
        if log.len() < Self::SIZE {
            return Ok(None);
        }
        let mut head = log.slice(..Self::SIZE);
        let base_offset = head.get_i64();
        let length = head.get_i32();
        let _epoch_and_magic = (head.get_i32(), head.get_i8());
        let checksum = head.get_u32();
        let attributes = head.get_i16();
        let last_offset_delta = head.get_i32();
        let (base_timestamp, _max_timestamp) = (head.get_i64(), head.get_i64());
        let producer_id = head.get_i64();
        let _epoch_and_sequence = (head.get_i16(), head.get_i32());
        let records = head.get_i32();
        let length = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(Self::BEFORE_LENGTH))
            .filter(|length| *length >= Self::SIZE)
            .ok_or_else(|| format!("the batch at offset {base_offset} has length {length}"))?;
        if log.len() < length {
            return Ok(None);
        }
        // Before anything that it covers is believed.
        if checksum != crc32c::crc32c(&log[Self::CHECKED..length]) {
            return Err(format!("the checksum of the batch at offset {base_offset} is wrong"));
        }
        let records = usize::try_from(records)
            .map_err(|_| format!("the batch at offset {base_offset} has {records} records"))?;
        if last_offset_delta < 0
            || base_offset < 0
            || base_offset.checked_add(i64::from(last_offset_delta) + 1).is_none()
        {
            return Err(format!("the batch at offset {base_offset} ends before it begins"));
        }
        let head = Self { base_offset, attributes, last_offset_delta, base_timestamp, producer_id, records };
        Ok(Some((head, log.split_to(length))))
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// `CompressionType` in Java.
    pub(super) fn codec(&self) -> i16 {
        self.attributes & 0x07
    }

    fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}
