//! The answer of a broker to our own Fetch.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_kafka::{internals::decode_fetch, wire::Fetched};

/// A batch's head, and in it the places of its length, its format and its checksum.
const HEAD: usize = 61;
const MAGIC: usize = 16;
const CHECKED: usize = 21;

/// The first byte says which version of the answer it is, and whether it is one as it stands or the log in a sound
/// one; the second one where the fetch began.
pub fn fetch(data: &[u8]) {
    let [kind, from, bytes @ ..] = data else { return };
    let (version, from) = (4 + i16::from(kind % 8), i64::from(*from));
    let answer = match kind & 0x80 {
        0 => Bytes::copy_from_slice(bytes),
        _ => answer(bytes, version),
    };
    if let Ok(fetched) = decode_fetch(answer, version, 0, from) {
        holds(&fetched, from);
    }
}

/// Offsets rise, from where the fetch began to where it ends.
fn holds(fetched: &Fetched, from: i64) {
    let mut least = from;
    for record in &fetched.records {
        assert!(record.offset >= least, "{} after {least}", record.offset);
        least = record.offset + 1;
    }
    assert!(fetched.next >= least, "the next is {} after {least}", fetched.next);
}

/// An answer with this log: a byte says how many transactions were aborted, two more a transaction which.
fn answer(mut bytes: &[u8], version: i16) -> Bytes {
    let mut answer = BytesMut::new();
    answer.put_bytes(0, if version >= 7 { 4 + 2 + 4 } else { 4 });
    answer.put_i32(1); // topics
    answer.put_i16(0); // the name
    answer.put_i32(1); // partitions
    answer.put_bytes(0, 4 + 2 + 8 + 8);
    if version >= 5 {
        answer.put_i64(0);
    }
    let aborted = bytes.try_get_u8().unwrap_or(0) % 4;
    answer.put_i32(aborted.into());
    for _ in 0..aborted {
        answer.put_i64(bytes.try_get_u8().unwrap_or(0).into());
        answer.put_i64(bytes.try_get_u8().unwrap_or(0).into());
    }
    if version >= 11 {
        answer.put_i32(-1);
    }
    answer.put_i32(bytes.len() as i32);
    answer.extend(sound(bytes));
    answer.freeze()
}

/// The log with formats, lengths and checksums that are right, which no machine finds by chance.
fn sound(log: &[u8]) -> Vec<u8> {
    let mut log = log.to_vec();
    let mut rest = &mut log[..];
    while rest.len() >= HEAD {
        let length = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
        let length = usize::try_from(length).unwrap_or(0).clamp(HEAD - 12, rest.len() - 12);
        let (batch, after) = rest.split_at_mut(12 + length);
        batch[8..12].copy_from_slice(&(length as i32).to_be_bytes());
        batch[MAGIC] = 2;
        let checksum = crc32c::crc32c(&batch[CHECKED..]);
        batch[MAGIC + 1..CHECKED].copy_from_slice(&checksum.to_be_bytes());
        rest = after;
    }
    log
}
