//! A partition's log: record batches as opaque bytes, with offsets set (`UnifiedLog` in Java).

mod batch;
mod compaction;
mod epochs;
mod producers;
mod records;
mod replica;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use thiserror::Error;

use crate::coordination::GroupRecord;
pub use batch::Head;
use epochs::Epochs;
use producers::Producers;

/// A batch was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LogError {
    /// There is no such partition.
    #[error("there is no such partition")]
    Unknown,
    /// It is cut short or corrupt.
    #[error("the batch is corrupt")]
    Corrupt,
    /// A producer may not send it.
    #[error("this is not one batch of records in the current format")]
    Invalid,
    /// It is older than the topic takes.
    #[error("the timestamp is too old")]
    TooOld,
    /// It is larger than the topic takes.
    #[error("the batch is too large")]
    TooLarge,
    /// Its compression is unknown to clients of this version.
    #[error("the codec is too new for this version of the request")]
    UnsupportedCodec,
    /// Batches before this one are missing.
    #[error("the batch is not the producer's next")]
    OutOfSequence,
    /// The producer's epoch is old.
    #[error("the producer's epoch is an old one")]
    FencedProducer,
}

impl From<LogError> for ResponseError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unknown => Self::UnknownTopicOrPartition,
            LogError::Corrupt => Self::CorruptMessage,
            LogError::Invalid => Self::InvalidRecord,
            LogError::TooOld => Self::InvalidTimestamp,
            LogError::TooLarge => Self::MessageTooLarge,
            LogError::UnsupportedCodec => Self::UnsupportedCompressionType,
            LogError::OutOfSequence => Self::OutOfOrderSequenceNumber,
            LogError::FencedProducer => Self::InvalidProducerEpoch,
        }
    }
}

/// A topic's settings for the batches of producers.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `max.message.bytes`, of a whole batch.
    pub most_bytes: usize,
    /// The time to stamp on a batch, in milliseconds since 1970, for `LogAppendTime`.
    pub append_time: Option<i64>,
    /// The oldest time that is taken without LogAppendTime, of the first record of a batch
    /// (`message.timestamp.before.max.ms`).
    pub oldest: Option<i64>,
}

/// A batch of a log, as replicas have it from one another.
#[derive(Clone)]
pub(crate) struct Batch {
    base: i64,
    last: i64,
    /// The epoch of the leader that appended it.
    epoch: i32,
    max_timestamp: i64,
    bytes: Bytes,
    /// The record in place of bytes, in the log of the groups.
    group: Option<Arc<GroupRecord>>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={} of {}", self.base, self.last, self.epoch)
    }
}

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset in this partition.
    pub first: i64,
    /// The offset of its marker.
    pub marker: i64,
}

/// The log of one partition.
#[derive(Debug, Default)]
pub struct PartitionLog {
    start: i64,
    end: i64,
    batches: VecDeque<Batch>,
    producers: Producers,
    /// The first offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
    epochs: Epochs,
}

/// The result of a fetch.
#[derive(Debug, Default)]
pub struct LogRead {
    /// Batches one after another; the last can be cut off.
    pub bytes: BytesMut,
    /// The aborted transactions in them.
    pub aborted: Vec<Aborted>,
    /// Whether one of them is compressed with zstd.
    pub has_zstd: bool,
}

impl PartitionLog {
    /// The log start offset.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// The log end offset.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The last stable offset: every transaction below it has ended (KIP-98).
    pub fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// The newest leader epoch.
    pub fn epoch(&self) -> i32 {
        self.epochs.last()
    }

    /// The largest epoch up to that one, and its end offset; `None` if there was none.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_of(epoch, self.end)
    }

    /// Appends a producer's batch and returns its offset. A repeat is not appended again.
    ///
    /// # Errors
    ///
    /// It is corrupt, too large, or not its producer's next.
    pub fn append(&mut self, batch: Bytes, rules: Rules) -> Result<i64, LogError> {
        let head = Head::of_producer(&batch)?;
        if batch.len() > rules.most_bytes {
            return Err(LogError::TooLarge);
        }
        let is_checked = rules.append_time.is_none() && head.base_timestamp >= 0;
        if is_checked && rules.oldest.is_some_and(|oldest| head.base_timestamp < oldest) {
            return Err(LogError::TooOld);
        }
        if let Some(offset) = self.producers.admit(&head)? {
            return Ok(offset);
        }
        let mut bytes = BytesMut::from(&batch[..]);
        if let Some(now) = rules.append_time {
            batch::stamp(&mut bytes, now);
        }
        self.push(bytes)
    }

    /// Appends a batch, setting its base offset, and returns that.
    ///
    /// # Errors
    ///
    /// It is shorter than a head, or its magic is not 2.
    pub fn append_unchecked(&mut self, batch: Bytes) -> Result<i64, LogError> {
        self.push(BytesMut::from(&batch[..]))
    }

    fn push(&mut self, mut bytes: BytesMut) -> Result<i64, LogError> {
        let head = Head::read(&bytes)?;
        let base = self.end;
        batch::place(&mut bytes, base, self.epoch());
        let last = base + i64::from(head.last_offset_delta);
        let (epoch, max_timestamp) = (self.epoch(), head.max_timestamp);
        self.add(Batch { base, last, epoch, max_timestamp, bytes: bytes.freeze(), group: None });
        Ok(base)
    }

    fn add(&mut self, batch: Batch) {
        if let Ok(head) = Head::read(&batch.bytes) {
            if head.is_transactional() && !head.is_control() {
                self.open.entry(head.producer_id).or_insert(batch.base);
            }
            self.producers.remember(&head, batch.base);
        }
        self.end = batch.last + 1;
        self.batches.push_back(batch);
    }

    /// Ends a producer's transaction with a marker of that time, in milliseconds since 1970.
    pub fn end_transaction(&mut self, producer_id: i64, epoch: i16, committed: bool, millis: i64) {
        let first = self.open.remove(&producer_id);
        // A marker is valid by construction.
        let marker = self.append_unchecked(batch::marker(producer_id, epoch, committed, millis));
        if let (Some(first), Ok(marker), false) = (first, marker, committed) {
            self.aborted.push(Aborted { producer_id, first, marker });
        }
    }

    /// Batches from `offset` on and below `limit`, up to that many bytes. The last is cut off there, as Kafka
    /// does it. If the first one is larger, it comes whole with `at_least_one`, and else not at all.
    pub fn read(&self, offset: i64, limit: i64, most_bytes: usize, at_least_one: bool) -> LogRead {
        let from = self.batches.partition_point(|batch| batch.last < offset);
        let mut found = LogRead::default();
        let mut upto = offset;
        for batch in self.batches.range(from..).take_while(|batch| batch.base < limit) {
            let room = most_bytes.saturating_sub(found.bytes.len());
            let is_first = found.bytes.is_empty();
            let too_large = if is_first { batch.bytes.len() > room && !at_least_one } else { room == 0 };
            if too_large {
                break;
            }
            let taken = if is_first { batch.bytes.len() } else { batch.bytes.len().min(room) };
            found.has_zstd |= Head::read(&batch.bytes).is_ok_and(|head| head.codec() == 4);
            found.bytes.extend_from_slice(&batch.bytes[..taken]);
            upto = batch.last + 1;
        }
        let overlaps = |aborted: &&Aborted| aborted.marker >= offset && aborted.first < upto;
        found.aborted = self.aborted.iter().filter(overlaps).copied().collect();
        found
    }

    /// The first record with that time or a later one: its offset and time.
    pub fn at_timestamp(&self, timestamp: i64) -> Option<(i64, i64)> {
        self.batches.iter().filter(|batch| batch.max_timestamp >= timestamp).find_map(|batch| {
            let head = Head::read(&batch.bytes).ok()?;
            let Some(records) = records::read(&batch.bytes) else {
                return Some((batch.base.max(self.start), batch.max_timestamp));
            };
            let time = |record: &records::Record| match head.has_append_time() {
                true => head.max_timestamp,
                false => head.base_timestamp.saturating_add(record.timestamp_delta),
            };
            let mut found =
                records.iter().map(|record| (batch.base.saturating_add(record.offset_delta), time(record)));
            found.find(|(offset, time)| *offset >= self.start && *time >= timestamp)
        })
    }

    /// The record with the largest time: its offset and time (KIP-734).
    pub fn youngest(&self) -> Option<(i64, i64)> {
        let most = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        self.at_timestamp(most)
    }

    /// Deletes the records below an offset. A batch stays while one of its records does.
    pub fn delete_before(&mut self, offset: i64) {
        self.start = offset.clamp(self.start, self.end);
        while self.batches.front().is_some_and(|batch| batch.last < self.start) {
            self.batches.pop_front();
        }
    }

    /// Truncates the log to an offset. A batch that reaches beyond it is deleted as a
    /// whole. A new leader epoch begins.
    pub fn truncate(&mut self, offset: i64) {
        let epoch = self.epoch() + 1;
        self.cut(offset);
        self.begin_epoch(epoch);
    }
}
