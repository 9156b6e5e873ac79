//! Records: to send, acknowledged, and read.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Headers;

/// A record to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The key. Its murmur2 hash chooses the partition, as Java's default partitioner does; without a key the
    /// partitions take turns.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The producer's clock: the record's timestamp, in milliseconds.
    pub timestamp: DateTime<Utc>,
    /// The partition, in place of the key's choice. A partition that the topic does not have counts as `None`.
    pub partition: Option<i32>,
}

/// The position of a record that all in-sync replicas have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The partition of the topic.
    pub partition: i32,
    /// The offset within that partition; `None` if the broker knows no more than that it has the record
    /// (DUPLICATE_SEQUENCE_NUMBER, where Java's producer says -1).
    pub offset: Option<i64>,
}

/// A record read from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// Its offset within the partition.
    pub offset: i64,
    /// The epoch of the leader that appended it (KIP-320); `None` in logs from before Kafka 0.11.
    pub leader_epoch: Option<i32>,
    /// The record's timestamp: the producer's clock, or the broker's where the topic has LogAppendTime; the time of
    /// reading if the producer sent none.
    pub timestamp: DateTime<Utc>,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

/// A record's timestamp, from milliseconds since 1970. -1 stands for none (a producer older than Kafka 0.10) and becomes the
/// current time. Producers can write any number: a year outside those of ISO 8601 becomes the nearest one inside, so that no
/// record is unreadable for its clock.
pub(super) fn timestamp(millis: i64) -> DateTime<Utc> {
    /// From 0000-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z.
    const FIRST: i64 = -62_167_219_200_000;
    const LAST: i64 = 253_402_300_799_999;
    /// `RecordBatch.NO_TIMESTAMP` in Java.
    const NONE: i64 = -1;
    let millis = if millis == NONE { Utc::now().timestamp_millis() } else { millis };
    DateTime::from_timestamp_millis(millis.clamp(FIRST, LAST)).unwrap_or_default()
}
