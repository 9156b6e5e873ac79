//! A record batch as bytes: its head, its validation, and the fields that a broker sets (KIP-98,
//! `DefaultRecordBatch` in Java).

use bytes::{BufMut, Bytes, BytesMut};

use super::LogError;

/// A batch's head: up to and with the number of records.
pub(super) const HEAD: usize = 61;
/// The first byte that the checksum covers: the attributes.
pub(super) const CHECKSUMMED: usize = 21;
const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CHECKSUM: usize = 17;
const MAX_TIMESTAMP: usize = 35;
const RECORDS: usize = 57;
/// The bytes that the length does not count.
const BEFORE_LENGTH: usize = 12;

const CODEC: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fields of a batch's head.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    attributes: i16,
    /// The last record's offset less the first one's.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// Milliseconds since 1970.
    pub max_timestamp: i64,
    /// -1 for a producer that has none.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The first record's sequence number; -1 without a producer id.
    pub base_sequence: i32,
    /// The number of records.
    pub records: i32,
}

impl Head {
    /// Reads the head of a batch.
    ///
    /// # Errors
    ///
    /// The bytes are too few, or the magic is not 2.
    pub fn read(batch: &[u8]) -> Result<Self, LogError> {
        if batch.len() < HEAD {
            return Err(LogError::Corrupt);
        }
        if batch[MAGIC] != 2 {
            return Err(LogError::Invalid);
        }
        Ok(Self {
            attributes: i16::from_be_bytes(field(batch, CHECKSUMMED)),
            last_offset_delta: i32::from_be_bytes(field(batch, 23)).max(0),
            base_timestamp: i64::from_be_bytes(field(batch, 27)),
            max_timestamp: i64::from_be_bytes(field(batch, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(field(batch, 43)),
            producer_epoch: i16::from_be_bytes(field(batch, 51)),
            base_sequence: i32::from_be_bytes(field(batch, 53)),
            records: i32::from_be_bytes(field(batch, RECORDS)),
        })
    }

    /// Reads the head of a producer's data, which must be one whole batch of records
    /// (`ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`).
    ///
    /// # Errors
    ///
    /// It is cut short or corrupt, is more than one batch, miscounts its records, or is a marker, which only
    /// brokers write.
    pub fn of_producer(batch: &[u8]) -> Result<Self, LogError> {
        let head = Self::read(batch)?;
        let length = usize::try_from(i32::from_be_bytes(field(batch, LENGTH))).ok();
        let length = length.and_then(|length| length.checked_add(BEFORE_LENGTH)).ok_or(LogError::Corrupt)?;
        if length > batch.len() || length < HEAD {
            return Err(LogError::Corrupt);
        }
        if length < batch.len() {
            return Err(LogError::Invalid);
        }
        if u32::from_be_bytes(field(batch, CHECKSUM)) != crc32c::crc32c(&batch[CHECKSUMMED..]) {
            return Err(LogError::Corrupt);
        }
        if head.is_control() || head.records < 1 || head.last_offset_delta != head.records - 1 {
            return Err(LogError::Invalid);
        }
        Ok(head)
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn codec(self) -> i16 {
        self.attributes & CODEC
    }

    /// Whether its records have the time of appending (LogAppendTime), which is the batch's largest.
    pub fn has_append_time(self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it is a marker and has no records for consumers.
    pub fn is_control(self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether its producer has an id.
    pub fn is_counted(self) -> bool {
        self.producer_id >= 0 && self.base_sequence >= 0
    }

    /// The sequence number of the last record. Numbers start at 0 again after the largest.
    pub fn last_sequence(self) -> i32 {
        match self.base_sequence.checked_add(self.last_offset_delta) {
            Some(last) => last,
            None => self.last_offset_delta - (i32::MAX - self.base_sequence) - 1,
        }
    }
}

pub(super) fn field<const N: usize>(batch: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&batch[at..at + N]);
    bytes
}

fn set<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) {
    batch[at..at + N].copy_from_slice(&bytes);
}

/// Sets the base offset and the leader epoch, which the checksum does not cover. The batch must be a head long.
pub(super) fn place(batch: &mut [u8], base: i64, leader_epoch: i32) {
    set(batch, 0, base.to_be_bytes());
    set(batch, LEADER_EPOCH, leader_epoch.to_be_bytes());
}

/// Sets the time of appending, for `message.timestamp.type=LogAppendTime`. The batch must be a head long.
pub(super) fn stamp(batch: &mut [u8], millis: i64) {
    let attributes = i16::from_be_bytes(field(batch, CHECKSUMMED)) | LOG_APPEND_TIME;
    set(batch, CHECKSUMMED, attributes.to_be_bytes());
    set(batch, MAX_TIMESTAMP, millis.to_be_bytes());
    set_checksum(batch);
}

/// The batch with other records, uncompressed, and the same offsets, times and producer.
pub(super) fn with_records(batch: &[u8], records: &[Bytes]) -> Bytes {
    let mut changed = BytesMut::from(&batch[..HEAD]);
    records.iter().for_each(|record| changed.put_slice(record));
    let attributes = i16::from_be_bytes(field(batch, CHECKSUMMED)) & !CODEC;
    set(&mut changed, CHECKSUMMED, attributes.to_be_bytes());
    set(&mut changed, RECORDS, (records.len() as i32).to_be_bytes());
    let length = (changed.len() - BEFORE_LENGTH) as i32;
    set(&mut changed, LENGTH, length.to_be_bytes());
    set_checksum(&mut changed);
    changed.freeze()
}

fn set_checksum(batch: &mut [u8]) {
    let checksum = crc32c::crc32c(&batch[CHECKSUMMED..]);
    set(batch, CHECKSUM, checksum.to_be_bytes());
}

/// A control batch with one marker (`EndTransactionMarker`): key version 0 and type, value version 0 and the
/// coordinator's epoch.
pub(super) fn marker(producer_id: i64, producer_epoch: i16, committed: bool, millis: i64) -> Bytes {
    let mut batch = BytesMut::new();
    batch.put_i64(0); // the offset, which appending sets
    batch.put_i32(0); // the length, set below
    batch.put_i32(0); // the leader's epoch, which appending sets
    batch.put_u8(2);
    batch.put_u32(0); // the checksum, set below
    batch.put_i16(TRANSACTIONAL | CONTROL);
    batch.put_i32(0); // last offset delta
    batch.put_i64(millis);
    batch.put_i64(millis);
    batch.put_i64(producer_id);
    batch.put_i16(producer_epoch);
    batch.put_i32(-1); // no sequence
    batch.put_i32(1); // one record
    let record = [
        0,
        0,
        0, // attributes, timestamp delta, offset delta
        8,
        0,
        0,
        0,
        u8::from(committed), // four bytes of key, in zigzag
        12,
        0,
        0,
        0,
        0,
        0,
        0, // six bytes of value
        0, // no headers
    ];
    batch.put_u8((record.len() * 2) as u8); // zigzag
    batch.put_slice(&record);
    let length = (batch.len() - BEFORE_LENGTH) as i32;
    set(&mut batch, LENGTH, length.to_be_bytes());
    set_checksum(&mut batch);
    batch.freeze()
}
