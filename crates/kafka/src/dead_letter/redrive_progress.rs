//! Which dead letters of a partition were sent back, as it is kept with a committed offset.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Watermark, consumer::metadata_field};

/// What the note of a committed offset begins with, so that another's is not taken for ours.
const KIND: &str = "redriven:";
/// The longest note of this kind: a broker takes 4,096 bytes unless it is told otherwise (`offset.metadata.max.bytes`),
/// and the topic's id stands beside it.
const LONGEST_NOTE: usize = 4096 - 64;
/// A stretch takes two numbers of up to five bytes as a rule, and base64 makes four characters of three bytes.
const MOST_A_STRETCH: usize = 14;

/// The dead letters of one partition that need not be looked at again. Those that were sent back by position
/// or by reason lie apart: an offset alone, below which everything is done, cannot tell them. What is done above
/// it is in the note that Kafka keeps with a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveProgress(Watermark);

impl RedriveProgress {
    /// Nothing at `start` or above is progress.
    pub fn starting_at(start: i64) -> Self {
        Self(Watermark::at(start))
    }

    /// What was committed; a note of another kind says nothing, as after `kafka-consumer-groups
    /// --reset-offsets`.
    pub fn decode(committed: i64, note: &str) -> Self {
        let mut progress = Self::starting_at(committed);
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

    /// The note to commit beside [`RedriveProgress::watermark`].
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

    /// How many more dead letters can surely be progress, wherever they stand, before the note gets too long.
    pub fn remaining_capacity(&self) -> usize {
        LONGEST_NOTE.saturating_sub(self.encode().len() + MOST_A_STRETCH) / MOST_A_STRETCH
    }

    /// The offset below which everything is progress.
    pub fn watermark(&self) -> i64 {
        self.0.mark()
    }

    /// Whether that offset is progress.
    pub fn contains(&self, offset: i64) -> bool {
        offset < self.0.mark() || self.0.above().any(|stretch| stretch.contains(&offset))
    }

    /// These offsets are progress.
    pub fn mark_done(&mut self, offsets: Range<i64>) {
        self.0.done(offsets);
    }
}

/// Seven bits a byte, the low ones first.
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
