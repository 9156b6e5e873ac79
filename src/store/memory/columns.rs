//! The columns that a scan compares: the timestamps and the hashes of the event types of one store log.
//!
//! A comparison in a column takes a nanosecond or two; the event itself would be a cache miss. Each block of the columns
//! knows its earliest and latest timestamp (a zone map), so a scan skips most blocks whole.

use std::{collections::VecDeque, ops::Range};

/// Events per block. A million events have a thousand blocks, and a block is compared in a microsecond.
const BLOCK: usize = 1024;
/// The timestamp of an erased entry. It is in no range, since a range ends before its end.
const NEVER: i64 = i64::MAX;

/// The timestamp and the type's hash of each event of a log, in the log's order.
///
/// The events of a partition arrive more or less in the order of their timestamps. So the zone maps do nearly all the
/// work of a query by time, and no index by time is needed.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// All blocks but the last are full.
    blocks: VecDeque<Block>,
    /// The number of entries at the beginning of the first block that have left the log.
    gone: usize,
}

#[derive(Debug)]
struct Block {
    earliest: i64,
    latest: i64,
    times: Vec<i64>,
    types: Vec<u32>,
}

/// The conditions that the columns can check.
#[derive(Debug, Clone)]
pub(super) struct ColumnFilter {
    /// Timestamps in milliseconds since 1970.
    pub(super) times: Range<i64>,
    /// The hash of the type.
    pub(super) type_hash: Option<u32>,
}

/// One block, addressed by indices of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockView<'a> {
    block: &'a Block,
    /// The number of entries at the beginning of the block that have left the log.
    gone: usize,
    /// The index in the log of the first remaining entry.
    first: usize,
}

impl Columns {
    pub(super) fn push(&mut self, time: i64, type_hash: u32) {
        if self.blocks.back().is_none_or(|last| last.times.len() == BLOCK) {
            let (times, types) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
            self.blocks.push_back(Block { earliest: i64::MAX, latest: i64::MIN, times, types });
        }
        if let Some(last) = self.blocks.back_mut() {
            last.earliest = last.earliest.min(time);
            last.latest = last.latest.max(time);
            last.times.push(time);
            last.types.push(type_hash);
        }
    }

    /// Removes the first entry and returns the hash of its type.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let type_hash = *self.blocks.front()?.types.get(self.gone)?;
        self.gone += 1;
        if self.gone == BLOCK {
            self.blocks.pop_front();
            self.gone = 0;
        }
        Some(type_hash)
    }

    /// Makes the entry at this index of the log match no filter.
    pub(super) fn erase(&mut self, index: usize) {
        let entry = self.gone + index;
        let block = self.blocks.get_mut(entry / BLOCK);
        if let Some(time) = block.and_then(|block| block.times.get_mut(entry % BLOCK)) {
            *time = NEVER;
        }
    }

    /// The block that contains this index of the log.
    pub(super) fn block_at(&self, index: usize) -> Option<BlockView<'_>> {
        let entry = self.gone + index;
        let block = self.blocks.get(entry / BLOCK)?;
        let gone = if entry < BLOCK { self.gone } else { 0 };
        let first = entry - entry % BLOCK + gone - self.gone;
        Some(BlockView { block, gone, first })
    }
}

impl BlockView<'_> {
    /// The indices of the log that the block covers.
    pub(super) fn indices(&self) -> Range<usize> {
        self.first..self.first + self.block.times.len() - self.gone
    }

    /// Whether any entry can match by its timestamp. Entries that have left the log count as well.
    pub(super) fn may_match(&self, filter: &ColumnFilter) -> bool {
        self.block.earliest < filter.times.end && self.block.latest >= filter.times.start
    }

    /// Whether the entry at this index of the log matches.
    pub(super) fn matches(&self, index: usize, filter: &ColumnFilter) -> bool {
        let entry = index - self.first + self.gone;
        // One comparison instead of two: the CPU would mispredict the first of two half of the time.
        let width = filter.times.end.wrapping_sub(filter.times.start) as u64;
        let in_time = |time: &i64| (time.wrapping_sub(filter.times.start) as u64) < width;
        self.block.times.get(entry).is_some_and(in_time)
            && filter.type_hash.is_none_or(|hash| self.block.types.get(entry) == Some(&hash))
    }
}
