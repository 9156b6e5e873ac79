//! A way through one lane, past what does not match.

use std::{ops::Range, sync::Arc};

use super::{
    columns::{Facts, Neighbours},
    index::Numbers,
    lane::Lane,
};
use crate::store::{Direction, Position, Stored};

/// Some of a lane's events, one after the other, from either end.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    lane: &'a Lane,
    /// Which of them; all, where nothing is named.
    numbers: Option<&'a Numbers>,
    facts: Facts,
    direction: Direction,
    len: usize,
    /// Which are not passed yet, counted from where the walk began.
    left: Range<usize>,
    stop: Option<Stop<'a>>,
    near: Option<Near<'a>>,
}

/// The block that a walk is in.
#[derive(Debug, Clone, Copy)]
struct Near<'a> {
    neighbours: Neighbours<'a>,
    may_have: bool,
    /// Where the walk leaves it, counted as it counts.
    end: usize,
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop<'a> {
    /// At an event that is still to be looked at.
    Before(&'a Arc<Stored>),
    /// At an event that has what was compared.
    At(&'a Arc<Stored>),
}

impl<'a> Stop<'a> {
    pub(super) fn event(self) -> &'a Arc<Stored> {
        let (Self::Before(stored) | Self::At(stored)) = self;
        stored
    }
}

impl<'a> Walk<'a> {
    /// A walk through those of these events whose place is within.
    pub(super) fn new(
        lane: &'a Lane,
        numbers: Option<&'a Numbers>,
        facts: Facts,
        direction: Direction,
        within: &Range<Position>,
    ) -> Self {
        let len = numbers.map_or(lane.len(), Numbers::len);
        let mut walk = Self { lane, numbers, facts, direction, len, left: 0..len, stop: None, near: None };
        let indices = lane.before(within.start)..lane.before(within.end);
        let start = first_not(0..len, |at| match direction {
            Direction::Forward => walk.index(at) < indices.start,
            Direction::Backward => walk.index(at) >= indices.end,
        });
        walk.left = start..first_not(start..len, |at| indices.contains(&walk.index(at)));
        walk.stop = walk.ahead();
        walk
    }

    /// Where it stands; `None` at the end.
    pub(super) fn stop(&self) -> Option<Stop<'a>> {
        self.stop
    }

    /// Goes on to the next event that has what is wanted, or else for a block of events. Blocks that have no such
    /// event are passed over as long as the budget lasts, from which all that was looked at is taken off.
    pub(super) fn step(&mut self, budget: &mut usize) {
        while let Some(near) = self.near() {
            let start = self.left.start;
            let found = if near.may_have {
                (start..near.end).find(|at| near.neighbours.has(self.index(*at), &self.facts))
            } else {
                None
            };
            let looked_at = if near.may_have { found.unwrap_or(near.end) - start } else { 0 };
            *budget = budget.saturating_sub(1 + looked_at);
            self.left.start = found.map_or(near.end, |at| at + 1);
            if let Some(at) = found {
                self.stop = self.lane.get(self.index(at)).map(Stop::At);
                return;
            }
            if near.may_have || *budget == 0 {
                break;
            }
        }
        self.stop = self.ahead();
    }

    /// The block of what is to be looked at next.
    fn near(&mut self) -> Option<Near<'a>> {
        let next = self.left.clone().next()?;
        if self.near.is_none_or(|near| near.end <= next) {
            let neighbours = self.lane.around(self.index(next))?;
            let most = self.left.end.min(next + neighbours.indices().len());
            let end = first_not(next..most, |at| neighbours.indices().contains(&self.index(at)));
            self.near = Some(Near { neighbours, may_have: neighbours.may_have(&self.facts), end });
        }
        self.near
    }

    /// What is to be looked at next.
    fn ahead(&self) -> Option<Stop<'a>> {
        let next = self.left.clone().next()?;
        self.lane.get(self.index(next)).map(Stop::Before)
    }

    /// Where in the lane the event stands that comes so many after the first.
    fn index(&self, at: usize) -> usize {
        let at = match self.direction {
            Direction::Forward => at,
            Direction::Backward => self.len - 1 - at,
        };
        match self.numbers {
            None => at,
            Some(numbers) => numbers.get(at).map_or(usize::MAX, |number| self.lane.index(number)),
        }
    }
}

/// The first of these for which it does not hold, as for none after it; their end, where it holds for all.
fn first_not(mut range: Range<usize>, holds: impl Fn(usize) -> bool) -> usize {
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
