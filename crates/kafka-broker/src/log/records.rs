//! Decodes the records of a batch: for compaction and the search by time.

use bytes::{Buf, Bytes};
use kafka_protocol::{
    compression::{Decompressor, Gzip, Lz4, Snappy, Zstd},
    protocol::buf::ByteBuf,
};

use super::batch::{HEAD, Head};

/// A record as bytes, with the fields that are needed.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: Option<Bytes>,
    /// All of it, its length first.
    pub(super) bytes: Bytes,
}

/// The records of a batch; `None` if it cannot be decoded.
pub(super) fn read(batch: &Bytes) -> Option<Vec<Record>> {
    let head = Head::read(batch).ok()?;
    let mut rest = decompress(head.codec(), batch.slice(HEAD..))?;
    let mut records = Vec::new();
    for _ in 0..head.records {
        let whole = rest.clone();
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let prefix = whole.len() - rest.len();
        if length > rest.len() {
            return None;
        }
        let mut body = rest.split_to(length);
        body.try_get_i8().ok()?; // attributes, unused
        let timestamp_delta = varint(&mut body)?;
        let offset_delta = varint(&mut body)?;
        let key = match usize::try_from(varint(&mut body)?) {
            Ok(length) if length <= body.len() => Some(body.split_to(length)),
            Ok(_) => return None,
            Err(_) => None,
        };
        records.push(Record { timestamp_delta, offset_delta, key, bytes: whole.slice(..prefix + length) });
    }
    Some(records)
}

fn decompress(codec: i16, mut bytes: Bytes) -> Option<Bytes> {
    match codec {
        0 => Some(bytes),
        1 => Gzip::decompress(&mut bytes, all).ok(),
        2 => Snappy::decompress(&mut bytes, all).ok(),
        3 => Lz4::decompress(&mut bytes, all).ok(),
        4 => Zstd::decompress(&mut bytes, all).ok(),
        _ => None,
    }
}

fn all<B: ByteBuf>(bytes: &mut B) -> anyhow::Result<Bytes> {
    Ok(bytes.get_bytes(bytes.remaining()))
}

/// A zigzag varint of up to 64 bits.
fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
