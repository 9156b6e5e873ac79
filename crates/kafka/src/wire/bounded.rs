//! Decodes messages by kafka-protocol without an allocation for more elements than the bytes can hold.
//!
//! That crate allocates for as many elements as an array claims, before it reads the first. Four bytes of a corrupt
//! response, or of the metadata of any group member, would end the process.

use std::ops::Range;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{Decodable, buf::ByteBuf};

/// Decodes a message of a broker or of another group member. Bytes after it are ignored.
///
/// # Errors
///
/// The message is cut short, or claims more elements than the bytes can hold.
pub fn decode<M: Decodable>(bytes: Bytes, version: i16) -> anyhow::Result<M> {
    // In most versions a number of elements is an integer like any other. So the trial takes each integer for one and
    // bounds it by the bytes that follow. An element has a byte at least, so a claim of too many runs out of bytes.
    M::decode(&mut BoundedBuf::new(bytes.clone(), true), version)?;
    M::decode(&mut BoundedBuf::new(bytes, false), version)
}

struct BoundedBuf {
    rest: Bytes,
    is_trial: bool,
}

impl BoundedBuf {
    fn new(rest: Bytes, is_trial: bool) -> Self {
        Self { rest, is_trial }
    }
}

impl Buf for BoundedBuf {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.rest.try_get_i32()?;
        let too_many = i32::try_from(self.rest.len() + 1).unwrap_or(i32::MAX);
        Ok(if self.is_trial { number.min(too_many) } else { number })
    }

    /// A boolean, or a byte of a varint: in flexible versions (KIP-482) a tag, or a length plus one. A byte that may
    /// begin a varint is checked.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.rest.try_get_u8()?;
        if byte >= 0x80 {
            let (mut number, mut shift) = (u64::from(byte & 0x7f), 7);
            for byte in self.rest.iter().take(4) {
                number |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if *byte < 0x80 {
                    break;
                }
            }
            let available = self.rest.len();
            if number > available as u64 + 1 {
                return Err(TryGetError { requested: number as usize, available });
            }
        }
        Ok(byte)
    }
}

impl ByteBuf for BoundedBuf {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.rest.split_to(size)
    }
}
