//! Writing to a partition's log ourselves, which shows what rskafka hides: whether Kafka throttles.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};

use super::{Connection, WireError};
use crate::messaging::Message;

const ACKS_ALL: i16 = -1;
const WHAT: &str = "Produce";
/// Where a batch's checksum stands, and where what it covers begins (KIP-98).
const CHECKSUM: usize = 17;
const CHECKED: usize = 21;
/// What a batch's length does not count: the base offset and the length.
const BEFORE_LENGTH: usize = 12;
/// A producer without an id, an epoch or a sequence; a leader's epoch that nobody knows yet.
const NONE: i8 = -1;

/// What became of a batch.
#[derive(Debug)]
pub struct Produced {
    /// The offset of its first record, or Kafka's error.
    pub written: Result<i64, WireError>,
    /// For so long the broker takes nothing more on this connection: a quota was passed (KIP-219).
    pub throttle: Duration,
}

impl Connection {
    /// Sends a batch to the leader of its partition, and waits until all in-sync replicas have it.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
        within: Duration,
    ) -> Result<Produced, WireError> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(ACKS_ALL)
            .with_timeout_ms(i32::try_from(within.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![topic]);
        // From 13 on topics go by their ids.
        let answer = self.call_within(&request, 3..=9, within).await?;
        let throttle = Duration::from_millis(answer.throttle_time_ms.max(0).unsigned_abs().into());
        let mut partitions = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
        let found = partitions.find(|found| found.index == partition).ok_or_else(|| {
            WireError::Malformed { what: WHAT, reason: format!("nothing about partition {partition}") }
        })?;
        let written = WireError::check(WHAT, found.error_code).map(|()| found.base_offset);
        Ok(Produced { written, throttle })
    }
}

/// A record batch of magic 2 (KIP-98; `DefaultRecordBatch` and `DefaultRecord` in Java), not compressed. There
/// is at least one message, and in all they are below 2 GiB.
///
/// Not by the kafka-protocol crate's encoder, which keeps one header of a name.
pub fn encode_batch<'a>(messages: impl Iterator<Item = &'a Message> + Clone) -> Bytes {
    let timestamps = messages.clone().map(|message| message.timestamp.timestamp_millis());
    let first = timestamps.clone().next().unwrap_or_default();
    let last = timestamps.max().unwrap_or_default();
    let mut batch = BytesMut::new();
    batch.put_i64(0); // the base offset, which the broker gives
    batch.put_i32(0); // the length, below
    batch.put_i32(NONE.into());
    batch.put_i8(2);
    batch.put_u32(0); // the checksum, below
    batch.put_i16(0);
    let count = messages.clone().count() as i32;
    batch.put_i32(count - 1);
    batch.put_i64(first);
    batch.put_i64(last);
    batch.put_i64(NONE.into());
    batch.put_i16(NONE.into());
    batch.put_i32(NONE.into());
    batch.put_i32(count);
    let mut record = BytesMut::new();
    for (delta, message) in messages.enumerate() {
        record.clear();
        record.put_i8(0);
        put_varint(&mut record, message.timestamp.timestamp_millis() - first);
        put_varint(&mut record, delta as i64);
        put_bytes(&mut record, message.key.as_deref());
        put_bytes(&mut record, message.value.as_deref());
        put_varint(&mut record, message.headers.len() as i64);
        for (name, value) in &message.headers {
            put_bytes(&mut record, Some(name.as_bytes()));
            put_bytes(&mut record, Some(value));
        }
        put_bytes(&mut batch, Some(&record));
    }
    let length = (batch.len() - BEFORE_LENGTH) as i32;
    batch[8..BEFORE_LENGTH].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[CHECKED..]);
    batch[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_be_bytes());
    batch.freeze()
}

/// Bytes with their length before them, which is -1 for null.
fn put_bytes(to: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(to, bytes.len() as i64);
            to.put_slice(bytes);
        }
        None => put_varint(to, -1),
    }
}

/// Seven bits a byte, the low ones first, zigzag (Protocol Buffers' `sint64`).
fn put_varint(to: &mut BytesMut, number: i64) {
    let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
    while zigzag >= 0x80 {
        to.put_u8(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.put_u8(zigzag as u8);
}
