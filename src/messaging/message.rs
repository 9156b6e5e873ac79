//! What goes to Kafka and what comes back.

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// A record on its way to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Decides the partition (murmur2, as Java's default partitioner); `None` spreads.
    pub key: Option<Vec<u8>>,
    /// The payload; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The producer's clock: the record's timestamp, in milliseconds.
    pub timestamp: DateTime<Utc>,
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
    /// The record's timestamp: the producer's clock, or the broker's, as the topic is set.
    pub timestamp: DateTime<Utc>,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order. Kafka allows a null value.
    pub headers: Vec<(String, Option<Bytes>)>,
}
