//! The records of a batch (KIP-98; `DefaultRecordBatch` and `DefaultRecord` in Java).
//!
//! Not by the kafka-protocol crate's decoder: that one takes memory for as many headers as a record says it
//! has, so that one record that lies ends the process; it keeps one header of a name; and a name that is not
//! UTF-8, which no broker refuses, would stop the partition.

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy, Zstd};

use super::fetch::BatchHead;
use crate::messaging::{Record, message::timestamp};

/// Where the checksum stands, and where what it covers begins.
const CHECKSUM: usize = 17;
const CHECKED: usize = 21;
/// The fewest bytes of a record: one for each of its fields.
const LEAST: usize = 7;

/// Decodes a whole batch whose head was read.
pub(super) fn decode(partition: i32, head: &BatchHead, batch: &Bytes) -> anyhow::Result<Vec<Record>> {
    let checksum = batch.slice(CHECKSUM..CHECKED).get_u32();
    ensure!(checksum == crc32c::crc32c(&batch[CHECKED..]), "its checksum is wrong");
    let count = usize::try_from(head.records).context("it has less than no records")?;
    let mut rest = batch.slice(BatchHead::SIZE..);
    let split = |rest: &mut Bytes| records(partition, head, count, rest);
    match head.codec() {
        0 => split(&mut rest),
        1 => Gzip::decompress(&mut rest, split),
        2 => Snappy::decompress(&mut rest, split),
        3 => Lz4::decompress(&mut rest, split),
        4 => Zstd::decompress(&mut rest, split),
        unknown => bail!("its codec {unknown} is unknown"),
    }
}

fn records(partition: i32, head: &BatchHead, count: usize, rest: &mut Bytes) -> anyhow::Result<Vec<Record>> {
    // A count that cannot be is found out below, and takes no memory.
    let mut records = Vec::with_capacity(count.min(rest.len() / LEAST));
    for _ in 0..count {
        let mut body = bytes(rest)?.context("a record without a length")?;
        records.push(record(partition, head, &mut body)?);
    }
    Ok(records)
}

fn record(partition: i32, head: &BatchHead, body: &mut Bytes) -> anyhow::Result<Record> {
    let _attributes = body.try_get_u8().context("a record is cut short")?;
    let timestamp_delta = varint(body)?;
    let offset = head.base_offset.checked_add(varint(body)?).context("an offset beyond all")?;
    let (key, value) = (bytes(body)?, bytes(body)?);
    let mut headers = Vec::new();
    for _ in 0..varint(body)? {
        let name = bytes(body)?.context("a header without a name")?;
        headers.push((String::from_utf8_lossy(&name).into_owned(), bytes(body)?));
    }
    let timestamp = timestamp(head.base_timestamp.saturating_add(timestamp_delta));
    Ok(Record { partition, offset, timestamp, key, value, headers })
}

/// Bytes with their length before them; null where that is negative.
fn bytes(from: &mut Bytes) -> anyhow::Result<Option<Bytes>> {
    let Ok(length) = usize::try_from(varint(from)?) else { return Ok(None) };
    ensure!(length <= from.len(), "{length} bytes are promised and {} are there", from.len());
    Ok(Some(from.split_to(length)))
}

/// Seven bits a byte, the low ones first, zigzag (Protocol Buffers' `sint64`).
fn varint(from: &mut Bytes) -> anyhow::Result<i64> {
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
