//! The head of a record batch (magic 2, KIP-98; `DefaultRecordBatch` in Java).

use bytes::{Buf, Bytes};

/// The fields of a record batch's head that are needed here.
#[derive(Debug)]
pub(super) struct BatchHead {
    pub(super) base_offset: i64,
    leader_epoch: i32,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) records: usize,
}

impl BatchHead {
    pub(super) const SIZE: usize = 61;
    /// The bytes that the length does not count: base offset and length.
    const BEFORE_LENGTH: usize = 12;
    const MAGIC: usize = 16;
    /// The first byte that the checksum covers.
    const CHECKED: usize = 21;

    /// The format of the first batch of the log. The byte has the same position in all formats.
    pub(super) fn magic(log: &[u8]) -> Option<u8> {
        log.get(Self::MAGIC).copied()
    }

    /// Takes the first batch off the log and checks its checksum; `None` at the end, or if the rest is a batch that is
    /// cut short.
    pub(super) fn split_from(log: &mut Bytes) -> Result<Option<(Self, Bytes)>, String> {
        if let Some(magic) = Self::magic(log).filter(|magic| *magic != 2) {
            let base_offset = log.slice(..8).get_i64();
            return Err(format!("the batch at offset {base_offset} has the format {magic}"));
        }
        if log.len() < Self::SIZE {
            return Ok(None);
        }
        let mut head = log.slice(..Self::SIZE);
        let base_offset = head.get_i64();
        let length = head.get_i32();
        let (leader_epoch, _magic) = (head.get_i32(), head.get_i8());
        let checksum = head.get_u32();
        let attributes = head.get_i16();
        let last_offset_delta = head.get_i32();
        let (base_timestamp, max_timestamp) = (head.get_i64(), head.get_i64());
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
        // Checked before any field that it covers is used.
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
        let head = Self {
            base_offset,
            leader_epoch,
            attributes,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer_id,
            records,
        };
        Ok(Some((head, log.split_to(length))))
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The epoch of the leader that appended it, if it has one.
    pub(super) fn leader_epoch(&self) -> Option<i32> {
        Some(self.leader_epoch).filter(|epoch| *epoch >= 0)
    }

    /// `CompressionType` in Java.
    pub(super) fn codec(&self) -> i16 {
        self.attributes & 0x07
    }

    /// Whether its records have the broker's time, LogAppendTime (KIP-32).
    pub(super) fn has_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// The timestamp of a record with that delta, in milliseconds.
    pub(super) fn time(&self, delta: i64) -> i64 {
        if self.has_append_time() { self.max_timestamp } else { self.base_timestamp.saturating_add(delta) }
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}
