//! What goes to Kafka and what comes back.

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// A record on its way to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Decides the partition where that is not named (murmur2, as Java's default partitioner); `None` spreads.
    pub key: Option<Vec<u8>>,
    /// The payload; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The producer's clock: the record's timestamp, in milliseconds.
    pub timestamp: DateTime<Utc>,
    /// The partition that it is for, where that is not the key's to decide. One that the topic does not have
    /// counts as none.
    pub partition: Option<i32>,
}

/// Where Kafka put a record, once all in-sync replicas have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The partition of the topic.
    pub partition: i32,
    /// The offset within that partition.
    pub offset: i64,
}

/// A record read from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset within the partition.
    pub offset: i64,
    /// The record's timestamp: the producer's clock, or the broker's where the topic has LogAppendTime. Where the
    /// producer sent none it is the time of reading.
    pub timestamp: DateTime<Utc>,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values; Kafka allows a null value. Of a name that repeats the last value is there, and the
    /// earlier ones only where rskafka could not read the log: it keeps one.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// A record's timestamp, from milliseconds since 1970. -1 stands for none, as of a producer older than 0.10: then it is
/// the time of now. Producers can write any number: what ISO 8601 has no year for becomes the nearest time that it has,
/// so that no record is unreadable for its clock.
pub(super) fn timestamp(millis: i64) -> DateTime<Utc> {
    /// From 0000-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z.
    const FIRST: i64 = -62_167_219_200_000;
    const LAST: i64 = 253_402_300_799_999;
    /// `RecordBatch.NO_TIMESTAMP` in Java.
    const NONE: i64 = -1;
    let millis = if millis == NONE { Utc::now().timestamp_millis() } else { millis };
    DateTime::from_timestamp_millis(millis.clamp(FIRST, LAST)).unwrap_or_default()
}
