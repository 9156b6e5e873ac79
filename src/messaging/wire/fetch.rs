//! Reading a partition's log ourselves: every legal batch, whoever wrote it.
//!
//! rskafka stops for ever at transaction markers, null header values and zstd topics, and does not tell
//! aborted records from others. Fetch 11 is the newest version that 3.4 and 4.x share with a topic's name.

use std::{collections::HashSet, time::Duration};

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{
        FetchRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::AbortedTransaction,
    },
    protocol::StrBytes,
};

use super::{Connection, WireError, records};
use crate::messaging::Record;

const READ_COMMITTED: i8 = 1;
const WHAT: &str = "Fetch";

/// A stretch of a partition's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The records, in order; those of aborted transactions and markers are left out.
    pub records: Vec<Record>,
    /// Where to read on: past everything that was seen, also past what was left out.
    pub next: i64,
    /// The high watermark: what all in-sync replicas have.
    pub end: i64,
}

impl Connection {
    /// Fetches committed records of one partition from its leader, waiting up to `max_wait_ms` for some.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Result<Fetched, WireError> {
        let position = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(max_bytes);
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(vec![position]);
        let request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(max_bytes)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(-1) // no fetch session (KIP-227)
            .with_topics(vec![topic]);
        // The broker may hold it that long on purpose.
        let held = Duration::from_millis(max_wait_ms.max(0).unsigned_abs().into());
        let within = self.request_timeout() + held;
        let answer = self.call_within(&request, 4..=11, within).await?;
        WireError::check(WHAT, answer.error_code)?;
        let mut partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        let found = partitions
            .find(|found| found.partition_index == partition)
            .ok_or_else(|| malformed(format!("nothing about partition {partition}")))?;
        WireError::check(WHAT, found.error_code)?;
        let aborted = found.aborted_transactions.unwrap_or_default();
        let batches = found.records.unwrap_or_default();
        let (records, next) = decode_batches(partition, batches, from, aborted)?;
        Ok(Fetched { records, next, end: found.high_watermark })
    }
}

fn malformed(reason: String) -> WireError {
    WireError::Malformed { what: WHAT, reason }
}

/// Decodes whole record batches (magic 2, KIP-98), leaving out records below `from`, control batches and
/// aborted transactions. The end may be cut in the middle of a batch, as brokers do. Returns the records
/// and the offset to read on from. A first batch that cannot be decoded is an error: to go on would be
/// to skip it.
pub fn decode_batches(
    partition: i32,
    mut log: Bytes,
    from: i64,
    mut aborted: Vec<AbortedTransaction>,
) -> Result<(Vec<Record>, i64), WireError> {
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    // Producers within an aborted transaction, until their marker: as Java's CompletedFetch does it.
    let mut aborting = HashSet::new();
    let (mut read, mut next) = (Vec::new(), from);
    loop {
        let head = match BatchHead::peek(&log) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            // What came before is good and is handed out first; the next fetch begins here.
            Err(_) if next > from => break,
            Err(error) => return Err(error),
        };
        let batch = log.split_to(head.length);
        while let Some(transaction) = aborted.next_if(|aborted| aborted.first_offset <= head.last_offset()) {
            aborting.insert(transaction.producer_id.0);
        }
        let after = head.last_offset() + 1;
        if after <= from {
            continue;
        }
        if head.is_control() {
            if head.is_abort_marker(partition, &batch) {
                aborting.remove(&head.producer_id);
            }
        } else if !(head.is_transactional() && aborting.contains(&head.producer_id)) && head.records > 0 {
            match records::decode(partition, &head, &batch) {
                Ok(decoded) => read.extend(decoded.into_iter().filter(|record| record.offset >= from)),
                Err(_) if next > from => break,
                Err(reason) => {
                    return Err(malformed(format!(
                        "the batch at offset {} cannot be decoded: {reason}",
                        head.base_offset
                    )));
                }
            }
        }
        next = after;
    }
    Ok((read, next))
}

/// The fixed part of a record batch (61 bytes), as far as it says what to do with the batch.
#[derive(Debug)]
pub(super) struct BatchHead {
    pub(super) base_offset: i64,
    length: usize,
    attributes: i16,
    last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    producer_id: i64,
    pub(super) records: i32,
}

impl BatchHead {
    pub(super) const SIZE: usize = 61;
    /// The bytes before what the length field counts: base offset and length.
    const BEFORE_LENGTH: usize = 12;

    /// `None` at the end, or where the rest is a batch cut short.
    fn peek(log: &Bytes) -> Result<Option<Self>, WireError> {
        if log.len() < Self::SIZE {
            return Ok(None);
        }
        let mut head = log.slice(..Self::SIZE);
        let base_offset = head.get_i64();
        let length = head.get_i32();
        let _leader_epoch = head.get_i32();
        let magic = head.get_i8();
        if magic != 2 {
            return Err(malformed(format!("the batch at offset {base_offset} has the old format {magic}")));
        }
        let _crc = head.get_u32();
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
            .ok_or_else(|| malformed(format!("the batch at offset {base_offset} has length {length}")))?;
        if last_offset_delta < 0
            || base_offset < 0
            || base_offset.checked_add(last_offset_delta.into()).is_none()
        {
            return Err(malformed(format!("the batch at offset {base_offset} ends before it begins")));
        }
        if log.len() < length {
            return Ok(None);
        }
        Ok(Some(Self {
            base_offset,
            length,
            attributes,
            last_offset_delta,
            base_timestamp,
            producer_id,
            records,
        }))
    }

    fn last_offset(&self) -> i64 {
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

    /// A control record's key is its version and its type; type 0 is ABORT (`ControlRecordType` in Java).
    fn is_abort_marker(&self, partition: i32, batch: &Bytes) -> bool {
        let records = records::decode(partition, self, batch).unwrap_or_default();
        let key = records.into_iter().next().and_then(|record| record.key);
        key.is_some_and(|key| key.len() >= 4 && key[2..4] == [0, 0])
    }
}
