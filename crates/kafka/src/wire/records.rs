//! The records of a batch (KIP-98; `DefaultRecordBatch` and `DefaultRecord` in Java).
//!
//! kafka-protocol's decoder is not used: it allocates for as many headers as a record claims, so that one corrupt record
//! ends the process; it keeps one header of a name; and it fails on a name that is not UTF-8, which brokers accept.

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf, Bytes};

use super::{
    batch_head::BatchHead,
    unpack::{MemoryBudget, unpack},
};
use crate::{Headers, Record, message::timestamp};

/// The fewest bytes of a record: one for each of its fields.
const LEAST: usize = 7;

/// Appends the records of a batch to `records`, also those before an error.
pub(super) fn decode(
    partition: i32,
    head: &BatchHead,
    mut batch: Bytes,
    budget: &mut MemoryBudget,
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    if head.records == 0 {
        return Ok(()); // as compaction leaves it
    }
    batch.advance(BatchHead::SIZE);
    let batch = unpack(head.codec(), batch, budget)?;
    let mut rest = &*batch;
    ensure!(head.records <= rest.len() / LEAST, "it promises {} records", head.records);
    budget.take(head.records * size_of::<Record>())?;
    records.reserve(head.records);
    let mut least = head.base_offset;
    for _ in 0..head.records {
        let body = take_bytes(&mut rest)?.context("a record without a length")?;
        let record = record(partition, head, &batch, body, budget)?;
        // Otherwise the watermark would count records that are not done.
        ensure!(
            (least..=head.last_offset()).contains(&record.offset),
            "its records are not in the order of their offsets, as Kafka writes them"
        );
        least = record.offset + 1;
        records.push(record);
    }
    Ok(())
}

fn record(
    partition: i32,
    head: &BatchHead,
    batch: &Bytes,
    mut body: &[u8],
    budget: &mut MemoryBudget,
) -> anyhow::Result<Record> {
    let body = &mut body;
    let shared = |bytes: Option<&[u8]>| bytes.map(|bytes| batch.slice_ref(bytes));
    let _attributes = body.try_get_u8().context("a record is cut short")?;
    let timestamp_delta = varint(body)?;
    let offset = head.base_offset.checked_add(varint(body)?).context("an offset beyond all")?;
    let (key, value) = (shared(take_bytes(body)?), shared(take_bytes(body)?));
    let count = varint(body)?;
    let before = *body;
    for _ in 0..count {
        let name = take_bytes(body)?.context("a header without a name")?;
        take_bytes(body)?;
        // The memory of the headers when all of them are kept, as in a dead letter.
        budget.take(size_of::<(String, Option<Bytes>)>() + name.len())?;
    }
    let encoded = &before[..before.len() - body.len()];
    let headers = if count > 0 { Headers::encoded(batch.slice_ref(encoded)) } else { Headers::default() };
    let timestamp = timestamp(head.time(timestamp_delta));
    let leader_epoch = head.leader_epoch();
    Ok(Record { partition, offset, leader_epoch, timestamp, key, value, headers })
}

/// Bytes after their length; a negative length is null.
pub(crate) fn take_bytes<'a>(from: &mut &'a [u8]) -> anyhow::Result<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(varint(from)?) else { return Ok(None) };
    ensure!(length <= from.len(), "{length} bytes are promised and {} are there", from.len());
    let (bytes, rest) = from.split_at(length);
    *from = rest;
    Ok(Some(bytes))
}

/// Seven bits a byte, the low ones first, zigzag (Protocol Buffers' `sint64`).
fn varint(from: &mut &[u8]) -> anyhow::Result<i64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().context("a number is cut short")?;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    bail!("a number is too long")
}
