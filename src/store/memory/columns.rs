//! What queries compare of a lane's events, kept apart from them: a look at one takes a nanosecond or two where the
//! event itself would be somewhere else in memory, and most blocks need no look at all.

use std::{collections::VecDeque, ops::Range};

/// How many events a block sums up: a million events have a thousand blocks, each of them is looked through in a
/// microsecond.
const BLOCK: usize = 1024;

/// The time and the type's hash of each event of a lane, in the lane's order.
///
/// Events of a partition come in the order of their time, more or less. So a block that knows its earliest and its
/// latest is passed over in one step by nearly all queries that ask for a time, and no order of times is kept up.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// All but the last are full.
    blocks: VecDeque<Block>,
    /// How many at the beginning of the first block have left the lane.
    gone: usize,
}

#[derive(Debug)]
struct Block {
    earliest: i64,
    latest: i64,
    times: Vec<i64>,
    types: Vec<u32>,
}

/// What a query wants of these.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// When it happened.
    pub(super) times: Range<i64>,
    /// The hash of its type.
    pub(super) of_type: Option<u32>,
}

/// Neighbours in a lane that share a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbours<'a> {
    block: &'a Block,
    /// Where the first of them that is still there stands in the block, and where in the lane.
    gone: usize,
    first: usize,
}

impl Columns {
    pub(super) fn push(&mut self, time: i64, of_type: u32) {
        if self.blocks.back().is_none_or(|last| last.times.len() == BLOCK) {
            let (times, types) = (Vec::new(), Vec::new());
            self.blocks.push_back(Block { earliest: i64::MAX, latest: i64::MIN, times, types });
        }
        if let Some(last) = self.blocks.back_mut() {
            last.earliest = last.earliest.min(time);
            last.latest = last.latest.max(time);
            last.times.push(time);
            last.types.push(of_type);
        }
    }

    /// Takes the first out, and tells the hash of its type.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let of_type = *self.blocks.front()?.types.get(self.gone)?;
        self.gone += 1;
        if self.gone == BLOCK {
            self.blocks.pop_front();
            self.gone = 0;
        }
        Some(of_type)
    }

    /// The event at that place in the lane, among its neighbours.
    pub(super) fn around(&self, index: usize) -> Option<Neighbours<'_>> {
        let slot = self.gone + index;
        let block = self.blocks.get(slot / BLOCK)?;
        let gone = if slot < BLOCK { self.gone } else { 0 };
        let first = slot - slot % BLOCK + gone - self.gone;
        Some(Neighbours { block, gone, first })
    }
}

impl Neighbours<'_> {
    /// Where in the lane they stand.
    pub(super) fn indices(&self) -> Range<usize> {
        self.first..self.first + self.block.times.len() - self.gone
    }

    /// Whether any of them may have these: those that have left count, too.
    pub(super) fn may_have(&self, facts: &Facts) -> bool {
        self.block.earliest < facts.times.end && self.block.latest >= facts.times.start
    }

    /// Whether the one at that place in the lane has these.
    pub(super) fn has(&self, index: usize, facts: &Facts) -> bool {
        let at = index - self.first + self.gone;
        // One comparison: of two, the first would be guessed wrongly half of the time.
        let width = facts.times.end.wrapping_sub(facts.times.start) as u64;
        let is_then = |time: &i64| (time.wrapping_sub(facts.times.start) as u64) < width;
        self.block.times.get(at).is_some_and(is_then)
            && facts.of_type.is_none_or(|of_type| self.block.types.get(at) == Some(&of_type))
    }
}
