//! A message's bytes as kafka-protocol reads them, without a number of elements being believed that the rest of
//! the bytes cannot have.
//!
//! That crate takes memory for as many elements as an array says it has, before it reads the first: four
//! bytes of a broker out of its mind, or of any member of a group about itself, would end the process.

use std::ops::Range;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{Decodable, buf::ByteBuf};

/// Decodes a message that a broker or another member sent. What comes after it is left alone.
///
/// # Errors
///
/// It is cut short, or says that it has more of something than the bytes have room for.
pub fn decode<M: Decodable>(bytes: Bytes, version: i16) -> anyhow::Result<M> {
    // In most versions the number of elements is an integer like all others. So first as if each integer were
    // one: where it exceeds the bytes that follow, and each element has one at least, the trial runs out of bytes.
    M::decode(&mut Answer::new(bytes.clone(), true), version)?;
    M::decode(&mut Answer::new(bytes, false), version)
}

/// What is still to be read.
struct Answer {
    rest: Bytes,
    is_trial: bool,
}

impl Answer {
    fn new(rest: Bytes, is_trial: bool) -> Self {
        Self { rest, is_trial }
    }
}

impl Buf for Answer {
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

    /// A boolean, or a byte of what the newer versions have for lengths and numbers of elements, which are one
    /// more than they say, and for tags: seven bits a byte. Whatever may begin such a number is checked.
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

impl ByteBuf for Answer {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.rest.split_to(size)
    }
}
