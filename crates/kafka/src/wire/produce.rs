//! Produce.
//!
//! Batches are encoded here, since kafka-protocol and rskafka keep one header of a name. A response that throttles (KIP-219)
//! says that the records are written.

use std::{collections::VecDeque, time::Duration};

use bytes::{BufMut, Bytes};
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::StrBytes,
};

use super::{Connection, WireError};
use crate::Message;

const ACKS_ALL: i16 = -1;
const WHAT: &str = "Produce";
/// The position of a batch's checksum, and of the first byte that it covers (KIP-98).
const CHECKSUM: usize = 17;
const CHECKED: usize = 21;
/// The bytes that a batch's length does not count: base offset and length.
const BEFORE_LENGTH: usize = 12;
/// The bytes of a batch without records (`DefaultRecordBatch.RECORD_BATCH_OVERHEAD` in Java).
pub(crate) const EMPTY_BATCH: usize = 61;
/// No producer id, producer epoch or sequence, and no leader epoch.
const NONE: i8 = -1;

/// The producer of a batch, and the number of the batch's first record among those that it sent to the partition
/// (KIP-98). The numbers go up to `i32::MAX`, and begin at 0 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSequence {
    /// The producer's id, which the cluster gave.
    pub producer_id: i64,
    /// The producer's epoch. Brokers refuse batches of an older one.
    pub epoch: i16,
    /// The number of the first record.
    pub first: i32,
}

impl BatchSequence {
    /// The sequence after that many records (`DefaultRecordBatch.incrementSequence` in Java).
    #[must_use]
    pub fn after(self, records: usize) -> Self {
        let after = (i64::from(self.first) + records as i64) % (i64::from(i32::MAX) + 1);
        Self { first: after as i32, ..self }
    }
}

/// The result of a Produce request.
#[derive(Debug)]
pub(crate) struct Produced {
    /// For each batch, in order, the offset of its first record or Kafka's error.
    pub(crate) written: Vec<Result<i64, WireError>>,
    /// The time for which the broker reads nothing more from this connection, because of a quota (KIP-219).
    pub(crate) throttle: Duration,
}

impl Connection {
    /// Sends batches, at most one a partition, to the leader of all their partitions, and waits until all in-sync
    /// replicas have them. The broker waits for `hold`, the client for `within`.
    ///
    /// # Errors
    ///
    /// There is no response, or a malformed one. Errors of a partition are in the result.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        batches: Vec<(i32, Bytes)>,
        hold: Duration,
        within: Duration,
    ) -> Result<Produced, WireError> {
        let partitions: Vec<i32> = batches.iter().map(|(partition, _)| *partition).collect();
        let data = batches.into_iter().map(|(partition, batch)| {
            PartitionProduceData::default().with_index(partition).with_records(Some(batch))
        });
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partition_data(data.collect());
        let request = ProduceRequest::default()
            .with_acks(ACKS_ALL)
            .with_timeout_ms(i32::try_from(hold.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![topic]);
        // From 13 on topics are named by their ids.
        let response = self.call_within(&request, 3..=9, within).await?;
        let throttle = Duration::from_millis(response.throttle_time_ms.max(0).unsigned_abs().into());
        let answered = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
        // Kafka answers in the order of the request.
        let mut answered: VecDeque<_> = answered.collect();
        let written = partitions.iter().map(|partition| {
            let place = answered.iter().position(|found| found.index == *partition);
            match place.and_then(|place| answered.remove(place)) {
                Some(found) => match ResponseError::try_from_code(found.error_code) {
                    None => Ok(found.base_offset),
                    Some(error) => Err(refused(error, found)),
                },
                None => {
                    let reason = format!("nothing about partition {partition}");
                    Err(WireError::Malformed { what: WHAT, reason })
                }
            }
        });
        Ok(Produced { written: written.collect(), throttle })
    }
}

/// The error of a batch, with the message about its first invalid record, if there is one (KIP-467).
fn refused(error: ResponseError, response: PartitionProduceResponse) -> WireError {
    let mut of_records =
        response.record_errors.into_iter().filter_map(|record| record.batch_index_error_message);
    let said = of_records.next().or(response.error_message).filter(|said| !said.is_empty());
    match said {
        Some(said) => WireError::Denied { what: WHAT, error, said: said.as_str().to_owned() },
        None => WireError::Refused { what: WHAT, error },
    }
}

/// Encodes a record batch of magic 2 (KIP-98; `DefaultRecordBatch` and `DefaultRecord` in Java), not compressed, of at
/// least one record and below 2 GiB. Without a sequence it is of no producer that brokers know.
pub fn encode_batch<'a>(
    records: impl Iterator<Item = &'a EncodedRecord> + Clone,
    sequence: Option<BatchSequence>,
) -> Bytes {
    const NO_PRODUCER: BatchSequence =
        BatchSequence { producer_id: NONE as i64, epoch: NONE as i16, first: NONE as i32 };
    let BatchSequence { producer_id, epoch, first: base_sequence } = sequence.unwrap_or(NO_PRODUCER);
    let first = records.clone().next().map_or(0, |record| record.timestamp);
    let mut last = first;
    let (mut count, mut size) = (0, EMPTY_BATCH);
    for (offset, record) in (0..).zip(records.clone()) {
        let length = record.length(first, offset);
        count += 1;
        size += varint_size(length as i64) + length;
        last = last.max(record.timestamp);
    }
    let mut batch = Vec::with_capacity(size);
    batch.put_i64(0); // the base offset, which the broker gives
    batch.put_i32((size - BEFORE_LENGTH) as i32);
    batch.put_i32(NONE.into());
    batch.put_i8(2);
    batch.put_u32(0); // the checksum, below
    batch.put_i16(0);
    batch.put_i32(count - 1);
    batch.put_i64(first);
    batch.put_i64(last);
    batch.put_i64(producer_id);
    batch.put_i16(epoch);
    batch.put_i32(base_sequence);
    batch.put_i32(count);
    for (offset, record) in (0..).zip(records) {
        put_varint(&mut batch, record.length(first, offset) as i64);
        batch.push(0);
        put_varint(&mut batch, record.timestamp - first);
        put_varint(&mut batch, offset);
        batch.extend_from_slice(&record.fields);
    }
    let checksum = crc32c::crc32c(&batch[CHECKED..]);
    batch[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_be_bytes());
    batch.into()
}

/// A message in the encoding of batches, but for the fields that depend on the batch: its length, and the deltas of its
/// timestamp and offset.
#[derive(Debug)]
pub struct EncodedRecord {
    /// In milliseconds.
    pub(crate) timestamp: i64,
    /// Key, value and headers.
    fields: Box<[u8]>,
}

impl EncodedRecord {
    /// The most bytes of a record beside its fields: length, attributes, and the deltas of timestamp and offset.
    const MAX_OVERHEAD: usize = 5 + 1 + 10 + 5;

    /// Encodes that message.
    pub fn new(message: &Message) -> Self {
        let Message { key, value, headers, timestamp, .. } = message;
        let headers_size: usize = headers
            .iter()
            .map(|(name, value)| bytes_size(Some(name.as_bytes())) + bytes_size(Some(value)))
            .sum();
        let size = bytes_size(key.as_deref())
            + bytes_size(value.as_deref())
            + varint_size(headers.len() as i64)
            + headers_size;
        let mut fields = Vec::with_capacity(size);
        put_bytes(&mut fields, key.as_deref());
        put_bytes(&mut fields, value.as_deref());
        put_varint(&mut fields, headers.len() as i64);
        for (name, value) in headers {
            put_bytes(&mut fields, Some(name.as_bytes()));
            put_bytes(&mut fields, Some(value));
        }
        Self { timestamp: timestamp.timestamp_millis(), fields: fields.into() }
    }

    /// The most bytes of the record in a batch.
    pub(crate) fn max_size(&self) -> usize {
        self.fields.len() + Self::MAX_OVERHEAD
    }

    /// The bytes of the record after its length, in a batch whose first record has that timestamp.
    fn length(&self, first: i64, offset: i64) -> usize {
        1 + varint_size(self.timestamp - first) + varint_size(offset) + self.fields.len()
    }
}

/// Bytes after their length, which is -1 for null.
fn put_bytes(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(to, bytes.map_or(-1, |bytes| bytes.len() as i64));
    to.extend_from_slice(bytes.unwrap_or_default());
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(varint_size(-1), |bytes| varint_size(bytes.len() as i64) + bytes.len())
}

/// Seven bits a byte, the low ones first, zigzag (Protocol Buffers' `sint64`).
pub(crate) fn put_varint(to: &mut Vec<u8>, number: i64) {
    let mut zigzag = zigzag(number);
    while zigzag >= 0x80 {
        to.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

fn varint_size(number: i64) -> usize {
    let bits = u64::BITS - (zigzag(number) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}
