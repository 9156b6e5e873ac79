//! The watermark: the highest offset below which every record is done.

use std::{collections::BTreeMap, ops::Range};

/// The done offsets of one partition, in any order.
///
/// The mark is the offset to commit: the next one to be processed, as Kafka counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    mark: i64,
    /// The starts and ends of done stretches above the mark, which neither touch nor overlap.
    above: BTreeMap<i64, i64>,
}

impl Watermark {
    /// A watermark at `offset`, with nothing done above it.
    pub fn new(offset: i64) -> Self {
        Self { mark: offset, above: BTreeMap::new() }
    }

    /// The highest offset below which everything is done.
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// The done stretches above the mark, in order, which neither touch nor overlap.
    pub fn above(&self) -> impl Iterator<Item = Range<i64>> {
        self.above.iter().map(|(start, end)| *start..*end)
    }

    /// Marks offsets done, whether or not each has a record. Marking them twice changes nothing.
    pub fn done(&mut self, offsets: Range<i64>) {
        let (mut start, mut end) = (offsets.start.max(self.mark), offsets.end);
        if start >= end {
            return;
        }
        // Merges all stretches that this one touches.
        while let Some((&other_start, &other_end)) = self.above.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.above.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        if start <= self.mark {
            self.mark = end;
        } else {
            self.above.insert(start, end);
        }
    }
}
