//! A scan of one store log that skips what cannot match.

use std::{ops::Range, sync::Arc};

use super::{
    columns::{BlockView, ColumnFilter},
    index::Postings,
    store_log::StoreLog,
};
use crate::store::{Direction, SequenceNumber, StoredEvent};

/// Events of one log, one after the other, from either end.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    log: &'a StoreLog,
    /// The events to look at; `None` stands for all.
    postings: Option<&'a Postings>,
    filter: ColumnFilter,
    direction: Direction,
    len: usize,
    /// The steps that are left, counted from where the scan began.
    left: Range<usize>,
    candidate: Option<Candidate<'a>>,
    block: Option<CurrentBlock<'a>>,
}

/// The block that a scan is in.
#[derive(Debug, Clone, Copy)]
struct CurrentBlock<'a> {
    view: BlockView<'a>,
    may_match: bool,
    /// The step at which the scan leaves the block.
    end: usize,
}

/// The event that a scan has reached.
#[derive(Debug, Clone, Copy)]
pub(super) enum Candidate<'a> {
    /// The columns of the event in this slot, which may be erased, are not compared yet.
    Unchecked(Slot),
    /// The columns of this event match; the event itself may still differ.
    Likely(&'a Arc<StoredEvent>),
}

/// The position of an event: in the store, and in its partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) sequence: SequenceNumber,
    pub(super) position: i64,
}

impl Candidate<'_> {
    pub(super) fn slot(self) -> Slot {
        match self {
            Self::Unchecked(slot) => slot,
            Self::Likely(stored) => Slot { sequence: stored.sequence, position: stored.position },
        }
    }
}

impl<'a> Scan<'a> {
    /// A scan of those events whose sequence numbers are in `within`.
    pub(super) fn new(
        log: &'a StoreLog,
        postings: Option<&'a Postings>,
        filter: ColumnFilter,
        direction: Direction,
        within: &Range<i64>,
    ) -> Self {
        let len = postings.map_or(log.len(), Postings::len);
        let mut scan =
            Self { log, postings, filter, direction, len, left: 0..len, candidate: None, block: None };
        let indices = log.count_before(within.start).max(log.expired())..log.count_before(within.end);
        let start = partition_point(0..len, |step| match direction {
            Direction::Forward => scan.index(step) < indices.start,
            Direction::Backward => scan.index(step) >= indices.end,
        });
        scan.left = start..partition_point(start..len, |step| indices.contains(&scan.index(step)));
        scan.candidate = scan.next_unchecked();
        scan
    }

    /// The event that the scan has reached; `None` at the end.
    pub(super) fn candidate(&self) -> Option<Candidate<'a>> {
        self.candidate
    }

    /// Goes on to the next event whose columns match, or else by one block. Further blocks that cannot match are skipped
    /// while the budget lasts. Each comparison costs one of the budget.
    pub(super) fn advance(&mut self, budget: &mut usize) {
        while let Some(block) = self.current_block() {
            let start = self.left.start;
            let found = if block.may_match {
                (start..block.end).find(|step| block.view.matches(self.index(*step), &self.filter))
            } else {
                None
            };
            let compared = if block.may_match { found.unwrap_or(block.end) - start } else { 0 };
            *budget = budget.saturating_sub(1 + compared);
            self.left.start = found.map_or(block.end, |step| step + 1);
            if let Some(step) = found {
                self.candidate = self.log.get(self.index(step)).map(Candidate::Likely);
                return;
            }
            if block.may_match || *budget == 0 {
                break;
            }
        }
        self.candidate = self.next_unchecked();
    }

    /// The block of the next step.
    fn current_block(&mut self) -> Option<CurrentBlock<'a>> {
        let next = self.left.clone().next()?;
        if self.block.is_none_or(|block| block.end <= next) {
            let view = self.log.block_at(self.index(next))?;
            let most = self.left.end.min(next + view.indices().len());
            let end = partition_point(next..most, |step| view.indices().contains(&self.index(step)));
            self.block = Some(CurrentBlock { view, may_match: view.may_match(&self.filter), end });
        }
        self.block
    }

    fn next_unchecked(&self) -> Option<Candidate<'a>> {
        let next = self.left.clone().next()?;
        self.log.slot(self.index(next)).map(Candidate::Unchecked)
    }

    /// The index in the log of the event at this step.
    fn index(&self, step: usize) -> usize {
        let at = match self.direction {
            Direction::Forward => step,
            Direction::Backward => self.len - 1 - step,
        };
        match self.postings {
            None => at,
            Some(postings) => postings.get(at).map_or(usize::MAX, |number| self.log.index(number)),
        }
    }
}

/// The first element of the range for which `holds` is false, as it is for all later ones; the range's end if it is true for
/// all.
pub(super) fn partition_point(mut range: Range<usize>, holds: impl Fn(usize) -> bool) -> usize {
    while !range.is_empty() {
        let middle = range.start + range.len() / 2;
        if holds(middle) {
            range.start = middle + 1;
        } else {
            range.end = middle;
        }
    }
    range.start
}
