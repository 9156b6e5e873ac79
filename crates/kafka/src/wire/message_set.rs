//! Message sets: the log formats before Kafka 0.11, magic 0 and 1 (KIP-31, KIP-32; `AbstractLegacyRecordBatch` in
//! Java). Old brokers wrote them, and newer ones with an old `log.message.format.version`.
//!
//! A message stands alone, or wraps compressed ones. In magic 1 the offsets of those count from 0, and the wrapper has
//! the last one's offset.

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf, Bytes};
use flate2::Crc;

use super::unpack::{MemoryBudget, unpack};
use crate::{Headers, Record, message::timestamp};

/// The bytes before each message: offset and size.
const BEFORE_MESSAGE: usize = 12;
/// The fewest bytes of a message: checksum, magic, attributes, and the lengths of key and value.
const LEAST: usize = 14;
/// `RecordBatch.NO_TIMESTAMP` in Java.
const NO_TIME: i64 = -1;

/// The records of one outer message.
pub(super) struct Messages {
    pub(super) records: Vec<Record>,
    pub(super) last_offset: i64,
}

/// Takes the first message off the log, with those that it wraps; `None` if the rest is cut short.
pub(super) fn split_from(
    log: &mut Bytes,
    partition: i32,
    budget: &mut MemoryBudget,
) -> anyhow::Result<Option<Messages>> {
    let Some(outer) = LegacyRecord::split_from(log)? else { return Ok(None) };
    let (last_offset, append_time) = (outer.offset, outer.has_append_time());
    if outer.codec() == 0 {
        budget.take(size_of::<Record>())?;
        let time = outer.time;
        return Ok(Some(Messages { records: vec![outer.record(partition, time)], last_offset }));
    }
    let packed = outer.value.clone().context("compressed, and without a value")?;
    let mut set = unpack(outer.codec(), packed, budget)?;
    let mut inner = Vec::new();
    while !set.is_empty() {
        let message = LegacyRecord::split_from(&mut set)?.context("a message within is cut short")?;
        ensure!(message.magic == outer.magic && message.codec() == 0, "a message within is of another kind");
        budget.take(size_of_val(&message) + size_of::<Record>())?;
        inner.push(message);
    }
    let last = inner.last().context("no message is within")?.offset;
    let base =
        if outer.magic == 0 { 0 } else { last_offset.checked_sub(last).context("an offset beyond all")? };
    let mut records: Vec<Record> = Vec::with_capacity(inner.len());
    for mut message in inner {
        message.offset = message.offset.checked_add(base).context("an offset beyond all")?;
        let least = records.last().map_or(0, |before| before.offset + 1);
        ensure!(
            (least..=last_offset).contains(&message.offset),
            "its records are not in the order of their offsets, as Kafka writes them"
        );
        let time = if append_time { outer.time } else { message.time };
        records.push(message.record(partition, time));
    }
    Ok(Some(Messages { records, last_offset }))
}

/// A message of either magic (Java's `LegacyRecord`).
struct LegacyRecord {
    offset: i64,
    magic: u8,
    attributes: u8,
    time: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
}

impl LegacyRecord {
    fn split_from(log: &mut Bytes) -> anyhow::Result<Option<Self>> {
        if log.len() < BEFORE_MESSAGE {
            return Ok(None);
        }
        let mut head = log.slice(..BEFORE_MESSAGE);
        let (offset, size) = (head.get_i64(), head.get_i32());
        let size = usize::try_from(size).ok().filter(|size| *size >= LEAST);
        let size = size.context("a message of impossible size")?;
        ensure!((0..i64::MAX).contains(&offset), "a message has offset {offset}");
        if log.len() - BEFORE_MESSAGE < size {
            return Ok(None);
        }
        log.advance(BEFORE_MESSAGE);
        let mut message = log.split_to(size);
        let checksum = message.get_u32();
        let mut crc = Crc::new();
        crc.update(&message);
        ensure!(crc.sum() == checksum, "the checksum of the message at offset {offset} is wrong");
        let (magic, attributes) = (message.get_u8(), message.get_u8());
        let time = match magic {
            0 => NO_TIME,
            1 => message.try_get_i64().context("a message is cut short")?,
            magic => bail!("a message has the format {magic}"),
        };
        let (key, value) = (bytes(&mut message)?, bytes(&mut message)?);
        Ok(Some(Self { offset, magic, attributes, time, key, value }))
    }

    /// `CompressionType` in Java.
    fn codec(&self) -> i16 {
        i16::from(self.attributes & 0x07)
    }

    fn has_append_time(&self) -> bool {
        self.magic > 0 && self.attributes & 0x08 != 0
    }

    fn record(self, partition: i32, time: i64) -> Record {
        let Self { offset, key, value, .. } = self;
        let timestamp = timestamp(time);
        Record { partition, offset, leader_epoch: None, timestamp, key, value, headers: Headers::default() }
    }
}

/// Bytes after their length; a negative length is null.
fn bytes(from: &mut Bytes) -> anyhow::Result<Option<Bytes>> {
    let Ok(length) = usize::try_from(from.try_get_i32().context("a message is cut short")?) else {
        return Ok(None);
    };
    ensure!(length <= from.len(), "{length} bytes are promised and {} are there", from.len());
    Ok(Some(from.split_to(length)))
}
