//! Content codings: bodies of requests are unpacked in a stream.
//!
//! A body is unpacked in small pieces, each when it is asked for. So a small body that unpacks to a large one costs no
//! memory before its bound refuses it.

use std::io::{self, BufRead, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use futures::{StreamExt as _, stream};

use super::{Problem, body::BodyStream, current_request};

/// The size of a piece that is unpacked.
const PIECE: usize = 16 * 1024;
/// The memory of a decoder beside its window.
const DECODER: usize = 128 * 1024;
/// The largest window of zstd: that which RFC 9659 has servers take, as a power of two.
const ZSTD_WINDOW: u32 = 23;

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
    Brotli,
}

impl Coding {
    /// Their names, as `Accept-Encoding` has them.
    pub(super) const ALL: &str = "gzip, zstd, br";

    /// That of a `Content-Encoding`, where it has one; `None` where it is unknown, or they are several.
    pub(super) fn of(content_encoding: &[u8]) -> Option<Option<Self>> {
        let mut codings = content_encoding
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
        let Some(coding) = codings.next() else { return Some(None) };
        let known = match coding.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"zstd" => Self::Zstd,
            b"br" => Self::Brotli,
            _ => return None,
        };
        codings.next().is_none().then_some(Some(known))
    }

    /// The largest window of its decoder, in bytes.
    fn window(self) -> usize {
        match self {
            Self::Gzip => 32 * 1024,
            Self::Zstd => 1 << ZSTD_WINDOW,
            Self::Brotli => 1 << 24,
        }
    }

    /// The body without this coding, of which no more than `most` bytes are looked at.
    ///
    /// # Errors
    ///
    /// 503: there is no memory for it.
    pub(super) fn unpack(self, body: BodyStream, most: usize) -> Result<BodyStream, Problem> {
        current_request::reserve_memory(DECODER + self.window().min(most))?;
        let decoder = Decoder::new(self).map_err(|error| {
            log::error!("a decoder cannot be made: {error}");
            Problem::internal()
        })?;
        let name = self.name();
        let unpacking = stream::try_unfold(
            (decoder, body),
            move |(mut decoder, mut body): (Decoder, BodyStream)| async move {
                loop {
                    let mut piece = BytesMut::zeroed(PIECE);
                    match decoder.read(&mut piece) {
                        Ok(0) => return Ok(None),
                        Ok(length) => {
                            piece.truncate(length);
                            return Ok(Some((piece.freeze(), (decoder, body))));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => match body.next().await {
                            Some(more) => decoder.packed().here = more?,
                            None => decoder.packed().ended = true,
                        },
                        Err(error) => {
                            return Err(Problem::bad_request(format!("the body is not {name}: {error}")));
                        }
                    }
                }
            },
        );
        Ok(unpacking.boxed())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }
}

/// The bytes that are still to be unpacked.
#[derive(Debug, Default)]
struct Packed {
    here: Bytes,
    /// Nothing comes after it.
    ended: bool,
}

impl BufRead for Packed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.here.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.here)
    }

    fn consume(&mut self, amount: usize) {
        self.here.advance(amount);
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        self.here.split_to(length).copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

enum Decoder {
    Gzip(MultiGzDecoder<Packed>),
    Zstd(zstd::stream::read::Decoder<'static, Packed>),
    Brotli(Box<Brotli>),
}

impl Decoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(MultiGzDecoder::new(Packed::default())),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(Packed::default())?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Self::Zstd(decoder)
            }
            Coding::Brotli => Self::Brotli(Box::default()),
        })
    }

    fn packed(&mut self) -> &mut Packed {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => &mut decoder.packed,
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Brotli(decoder) => decoder.read(buffer),
        }
    }
}

/// A decoder of brotli (RFC 7932), without the windows above 16 MiB that the RFC does not have.
struct Brotli {
    packed: Packed,
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
}

impl Default for Brotli {
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        Self { packed: Packed::default(), state: BrotliState::new_strict(alloc(), alloc(), alloc()) }
    }
}

impl Read for Brotli {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = &self.packed.here;
            let (mut left, mut read) = (input.len(), 0);
            let (mut room, mut written, mut total) = (buffer.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut read,
                input,
                &mut room,
                &mut written,
                buffer,
                &mut total,
                &mut self.state,
            );
            self.packed.here.advance(read);
            match result {
                _ if written > 0 => return Ok(written),
                BrotliResult::ResultSuccess if self.packed.fill_buf()?.is_empty() => return Ok(0),
                BrotliResult::ResultSuccess => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "more follows after its end"));
                }
                BrotliResult::NeedsMoreInput if self.packed.fill_buf()?.is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultFailure => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it has an invalid part"));
                }
            }
        }
    }
}
