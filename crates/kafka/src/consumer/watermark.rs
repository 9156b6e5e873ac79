//! The highest offset below which every record is done: what the project is named for.

use std::{collections::BTreeMap, ops::Range};

/// Offsets of one partition that are done, in whatever order that came about.
///
/// The mark is what may be committed: the next offset to be processed, as Kafka counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    mark: i64,
    /// Done above the mark: starts and ends of stretches that neither touch nor overlap.
    above: BTreeMap<i64, i64>,
}

impl Watermark {
    /// Nothing at `offset` or above is done.
    pub fn at(offset: i64) -> Self {
        Self { mark: offset, above: BTreeMap::new() }
    }

    /// The highest offset below which everything is done.
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// What is done above the mark: stretches in their order that neither touch nor overlap.
    pub fn above(&self) -> impl Iterator<Item = Range<i64>> {
        self.above.iter().map(|(start, end)| *start..*end)
    }

    /// These offsets are done, whether or not a record stands at each. Saying it twice changes nothing.
    pub fn done(&mut self, offsets: Range<i64>) {
        let (mut start, mut end) = (offsets.start.max(self.mark), offsets.end);
        if start >= end {
            return;
        }
        // Takes in every stretch that this one touches.
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
