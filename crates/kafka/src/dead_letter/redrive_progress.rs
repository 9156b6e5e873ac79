//! The redriven dead letters of a partition, as committed in the redrive group.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Watermark, group::metadata_field};

/// The prefix of the metadata of a committed offset, which tells it from another program's.
const KIND: &str = "redriven:";
/// The longest metadata: a broker takes 4,096 bytes by default (`offset.metadata.max.bytes`), the topic's id included.
const LONGEST_NOTE: usize = 4096 - 64;
/// A range takes two varints of up to five bytes, mostly, and base64 makes four characters of three bytes.
const MOST_A_STRETCH: usize = 14;

/// The offsets of one partition that a redrive is done with. A redrive by position or by reason leaves gaps, which an
/// offset alone cannot tell. The ranges above it are in the metadata of the committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveProgress(Watermark);

impl RedriveProgress {
    /// No offset from `start` on is done.
    pub fn new(start: i64) -> Self {
        Self(Watermark::new(start))
    }

    /// Decodes a committed offset and its metadata. Any other metadata means no range above it, as after
    /// `kafka-consumer-groups --reset-offsets`.
    pub fn decode(committed: i64, note: &str) -> Self {
        let mut progress = Self::new(committed);
        let Some(bytes) = metadata_field(note, KIND).and_then(|code| URL_SAFE_NO_PAD.decode(code).ok())
        else {
            return progress;
        };
        let mut bytes = bytes.into_iter();
        let mut at = committed;
        while let (Some(gap), Some(length)) = (number(&mut bytes), number(&mut bytes)) {
            let (Some(start), Some(end)) =
                (at.checked_add(gap), at.checked_add(gap).and_then(|start| start.checked_add(length)))
            else {
                break;
            };
            progress.mark_done(start..end);
            at = end;
        }
        progress
    }

    /// Encodes the ranges above [`RedriveProgress::watermark`], as metadata to commit with it.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        let mut at = self.0.mark();
        for stretch in self.0.above() {
            push(&mut bytes, stretch.start - at);
            push(&mut bytes, stretch.end - stretch.start);
            at = stretch.end;
        }
        if bytes.is_empty() { String::new() } else { format!("{KIND}{}", URL_SAFE_NO_PAD.encode(bytes)) }
    }

    /// The number of offsets that can certainly still be marked, at any place, before the metadata is too long.
    pub fn remaining_capacity(&self) -> usize {
        LONGEST_NOTE.saturating_sub(self.encode().len() + MOST_A_STRETCH) / MOST_A_STRETCH
    }

    /// The offset below which all are done.
    pub fn watermark(&self) -> i64 {
        self.0.mark()
    }

    /// Whether the offset is done.
    pub fn contains(&self, offset: i64) -> bool {
        offset < self.0.mark() || self.0.above().any(|stretch| stretch.contains(&offset))
    }

    /// Marks offsets as done.
    pub fn mark_done(&mut self, offsets: Range<i64>) {
        self.0.done(offsets);
    }
}

/// A varint: seven bits a byte, the low ones first.
fn push(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = number.unsigned_abs();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let mut number = 0_i64;
    for shift in (0..63).step_by(7) {
        let byte = bytes.next()?;
        number |= i64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
