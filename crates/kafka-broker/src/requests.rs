//! Decodes requests without trust.
//!
//! kafka-protocol allocates for as many elements as an array claims before it reads the first, so
//! a few corrupt bytes can end the process. An element takes
//! at least a byte, so an array has no more than there are bytes left: [`decode`] checks that.

use std::{io, ops::Range};

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::{Request, buf::ByteBuf};

/// Decodes a request. Corrupt bytes are an error, and take no more memory than their length allows.
pub(super) fn decode<R: Request>(body: &mut Bytes, version: i16) -> io::Result<R> {
    R::decode(&mut Wary(body.clone()), version).map_err(io::Error::other)?;
    R::decode(body, version).map_err(io::Error::other)
}

/// Bytes that return no number much larger than the count of bytes left. A length that is reduced so fails
/// all the same once the bytes run out. Other numbers are read again by the second decoding, which reduces none.
struct Wary(Bytes);

impl Buf for Wary {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.0.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.0.try_get_i32()?;
        Ok(number.min(i32::try_from(self.0.len()).unwrap_or(i32::MAX).saturating_add(1)))
    }

    /// Called for each byte of a varint, which is a length here or a small number: at its first byte the
    /// whole of it is known.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let first = self.0.try_get_u8()?;
        let mut length = usize::from(first & 0x7f);
        let mut goes_on = first & 0x80 != 0;
        for (place, byte) in (1..5).zip(self.0.chunk()) {
            if !goes_on {
                break;
            }
            length |= usize::from(byte & 0x7f) << (7 * place);
            goes_on = byte & 0x80 != 0;
        }
        let available = self.0.len();
        if first & 0x80 != 0 && length > available + 1 {
            return Err(TryGetError { requested: length, available });
        }
        Ok(first)
    }
}

impl ByteBuf for Wary {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.0.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.0.split_to(size)
    }
}
