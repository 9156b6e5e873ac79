//! A partition's log: record batches as opaque bytes, with offsets set.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use thiserror::Error;

/// A batch's head: up to and with the number of records (KIP-98).
const HEAD: usize = 61;

/// Why a batch was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LogError {
    /// There is no such partition.
    #[error("there is no such partition")]
    Unknown,
    /// Not a batch, or one that was damaged.
    #[error("the batch is corrupt")]
    Corrupt,
    /// Larger than the topic takes.
    #[error("the batch is too large")]
    TooLarge,
}

impl LogError {
    pub(super) fn code(self) -> i16 {
        match self {
            Self::Unknown => ResponseError::UnknownTopicOrPartition.code(),
            Self::Corrupt => ResponseError::CorruptMessage.code(),
            Self::TooLarge => ResponseError::MessageTooLarge.code(),
        }
    }
}

/// What a batch's head says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
}

impl Head {
    pub(super) fn read(batch: &[u8]) -> Result<Self, LogError> {
        if batch.len() < HEAD || batch[16] != 2 {
            return Err(LogError::Corrupt);
        }
        Ok(Self {
            attributes: i16::from_be_bytes(field(batch, 21)),
            last_offset_delta: i32::from_be_bytes(field(batch, 23)).max(0),
            max_timestamp: i64::from_be_bytes(field(batch, 35)),
            producer_id: i64::from_be_bytes(field(batch, 43)),
            producer_epoch: i16::from_be_bytes(field(batch, 51)),
            base_sequence: i32::from_be_bytes(field(batch, 53)),
        })
    }

    pub(super) fn codec(self) -> i16 {
        self.attributes & 0x07
    }

    pub(super) fn is_transactional(self) -> bool {
        self.attributes & 0x10 != 0
    }
}

fn field<const N: usize>(batch: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&batch[at..at + N]);
    bytes
}

#[derive(Debug)]
struct Batch {
    base: i64,
    last: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// A transaction that was aborted: its producer, its first offset and its marker's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first: i64,
    marker: i64,
}

/// The log of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    start: i64,
    end: i64,
    batches: VecDeque<Batch>,
    /// The first offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

/// What a fetch finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) bytes: BytesMut,
    pub(super) aborted: Vec<Aborted>,
    pub(super) has_zstd: bool,
}

impl PartitionLog {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// Below this, every transaction has come to its end (KIP-98).
    pub(super) fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Appends a producer's batch, when it is whole and not too large.
    pub(super) fn append(&mut self, batch: Bytes, most_bytes: usize) -> Result<i64, LogError> {
        if batch.len() > most_bytes {
            return Err(LogError::TooLarge);
        }
        Head::read(&batch)?;
        let length = i32::from_be_bytes(field(&batch, 8));
        let checksum = u32::from_be_bytes(field(&batch, 17));
        if usize::try_from(length).ok() != batch.len().checked_sub(12)
            || checksum != crc32c::crc32c(&batch[21..])
        {
            return Err(LogError::Corrupt);
        }
        self.append_unchecked(batch)
    }

    /// Appends a batch, setting its base offset; returns that.
    pub(super) fn append_unchecked(&mut self, batch: Bytes) -> Result<i64, LogError> {
        let head = Head::read(&batch)?;
        let mut bytes = BytesMut::from(&batch[..]);
        let base = self.end;
        bytes[0..8].copy_from_slice(&base.to_be_bytes());
        bytes[12..16].copy_from_slice(&0_i32.to_be_bytes()); // the leader's epoch
        let last = base + i64::from(head.last_offset_delta);
        if head.is_transactional() {
            self.open.entry(head.producer_id).or_insert(base);
        }
        self.batches.push_back(Batch {
            base,
            last,
            max_timestamp: head.max_timestamp,
            bytes: bytes.freeze(),
        });
        self.end = last + 1;
        Ok(base)
    }

    /// Ends a producer's transaction with its marker, a whole control batch.
    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool, marker: Bytes) {
        let first = self.open.get(&producer_id).copied();
        // The marker is transactional itself and would open a transaction.
        let offset = self.end;
        let appended = self.append_unchecked(marker);
        self.open.remove(&producer_id);
        if let (Some(first), Ok(_), false) = (first, appended, committed) {
            self.aborted.push(Aborted { producer_id, first, marker: offset });
        }
    }

    /// Batches from `offset` on and below `limit`: the first one whole, more while they fit.
    pub(super) fn read(&self, offset: i64, limit: i64, most_bytes: usize) -> Found {
        let from = self.batches.partition_point(|batch| batch.last < offset);
        let mut found = Found::default();
        let mut upto = offset;
        for batch in self.batches.range(from..).take_while(|batch| batch.base < limit) {
            if !found.bytes.is_empty() && found.bytes.len() + batch.bytes.len() > most_bytes {
                break;
            }
            found.has_zstd |= Head::read(&batch.bytes).is_ok_and(|head| head.codec() == 4);
            found.bytes.extend_from_slice(&batch.bytes);
            upto = batch.last + 1;
        }
        let overlaps = |aborted: &&Aborted| aborted.marker >= offset && aborted.first < upto;
        found.aborted = self.aborted.iter().filter(overlaps).copied().collect();
        found
    }

    /// The first offset whose batch is at least that young.
    pub(super) fn at_timestamp(&self, timestamp: i64) -> Option<(i64, i64)> {
        let batch = self.batches.iter().find(|batch| batch.max_timestamp >= timestamp)?;
        Some((batch.base.max(self.start), batch.max_timestamp))
    }

    /// Records below the offset are gone; a batch stays while one of its records does.
    pub(super) fn delete_before(&mut self, offset: i64) {
        self.start = offset.clamp(self.start, self.end);
        while self.batches.front().is_some_and(|batch| batch.last < self.start) {
            self.batches.pop_front();
        }
    }

    /// Batches that reach beyond the offset are gone.
    pub(super) fn truncate(&mut self, offset: i64) {
        while self.batches.back().is_some_and(|batch| batch.last >= offset) {
            self.batches.pop_back();
        }
        self.end = self.batches.back().map_or(self.start.min(offset), |batch| batch.last + 1);
        self.start = self.start.min(self.end);
        self.open.retain(|_, first| *first < offset);
    }
}
