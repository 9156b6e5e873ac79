//! Answers in gzip, for clients that ask for it (`Accept-Encoding`).
//!
//! The packed bytes leave whenever the next piece of the answer is not ready, so a stream stays one.

use std::io::{self, Write as _};

use flate2::{Compression, write::GzEncoder};
use hyper::{
    HeaderMap,
    body::{Body as _, Bytes},
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, VARY},
};
use warp::reply::Response;

use super::{accepts_gzip, deadlines::ConnectionDeadlines, media::is_event_stream};

/// The length from which packing an answer saves a segment on the wire.
const WORTHWHILE: u64 = 1024;
/// The memory of an encoder: its window, its tables and its pending output.
const ENCODER: usize = 384 * 1024;

/// Whether a request's client accepts gzip.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT_ENCODING).is_some_and(|value| accepts_gzip(value.as_bytes()))
}

/// Packs an answer where that is worthwhile and was asked for. A worthwhile answer names `Accept-Encoding` in `Vary`.
pub(super) fn pack(
    answer: &mut Response,
    is_asked_for: bool,
    deadlines: &ConnectionDeadlines,
) -> Option<Packer> {
    let is_long = answer.body().size_hint().exact().is_none_or(|length| length >= WORTHWHILE);
    if !is_long || !is_packable(answer.headers()) {
        return None;
    }
    let headers = answer.headers_mut();
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    if !is_asked_for || !deadlines.take(ENCODER) {
        return None;
    }
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Some(Packer::new())
}

/// Whether an answer may be packed. One with an ETag is the same bytes for everybody, and one without an end would keep an
/// encoder for as long as it lasts.
fn is_packable(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_text = content_type.starts_with(b"application/") || content_type.starts_with(b"text/");
    is_text
        && !is_event_stream(headers)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(ETAG)
}

/// Packs the pieces of an answer.
pub(super) struct Packer {
    /// `None` after the end.
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Something was added since the last flush.
    holds: bool,
}

impl Packer {
    fn new() -> Self {
        Self { gzip: Some(GzEncoder::new(Vec::new(), Compression::fast())), holds: false }
    }

    /// Adds a piece. Returns the bytes that are packed by now, possibly none.
    pub(super) fn add(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let Some(gzip) = &mut self.gzip else { return Ok(Bytes::new()) };
        gzip.write_all(piece)?;
        self.holds = true;
        Ok(std::mem::take(gzip.get_mut()).into())
    }

    /// The pending output of all added pieces; `None` if nothing was added since the last flush.
    pub(super) fn flush(&mut self) -> io::Result<Option<Bytes>> {
        let Some(gzip) = self.gzip.as_mut().filter(|_| self.holds) else { return Ok(None) };
        gzip.flush()?;
        self.holds = false;
        Ok(Some(std::mem::take(gzip.get_mut()).into()))
    }

    /// The end of the answer, once.
    pub(super) fn finish(&mut self) -> io::Result<Option<Bytes>> {
        self.gzip.take().map(|gzip| Ok(gzip.finish()?.into())).transpose()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.gzip.is_none()
    }
}
