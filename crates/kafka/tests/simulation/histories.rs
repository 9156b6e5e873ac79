//! What an unclean election takes from a log, and who must be told.

use std::collections::BTreeSet;

use crate::{members::Item, world::Millis};

/// So long after its truncation was told a partition may still have a commit of the history that is gone.
const ON_THE_WAY: Millis = 10_000;

/// The history of a partition that is gone, and the one that goes on.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    /// The leader epoch in which the present one began.
    pub(crate) epoch: i32,
    /// What was lost, each with its offset, in all elections.
    lost: BTreeSet<(i64, Item)>,
    last: Option<Loss>,
}

/// The last loss.
#[derive(Debug)]
struct Loss {
    from: i64,
    /// Whether the group had committed above it, of the history that ends: then it must be told before the new history is read on there.
    is_due: bool,
    told_at: Option<Millis>,
}

impl Histories {
    /// A history ends at that offset: `gone` of it is lost, and the one that goes on has `others` there. Returns how many of
    /// those an earlier election had taken. Whoever has read them then goes on behind them, and need not be told.
    pub(crate) fn part(
        &mut self,
        epoch: i32,
        from: i64,
        gone: Vec<Item>,
        others: &[Item],
        committed: i64,
    ) -> i64 {
        self.epoch = epoch;
        let is_back = |(offset, item): &(i64, &Item)| self.has_lost(*offset, item);
        let back = (from..).zip(others).take_while(is_back).count() as i64;
        let was_due = self.last.as_ref().is_some_and(|loss| loss.is_due && loss.told_at.is_none());
        let is_due = (was_due && back == 0) || committed > from + back;
        self.lost.extend((from..).zip(gone));
        self.last = Some(Loss { from, is_due, told_at: None });
        back
    }

    /// Where the last loss began.
    pub(crate) fn to_tell(&self) -> Option<i64> {
        self.last.as_ref().map(|loss| loss.from)
    }

    /// A handler is told of the last loss.
    pub(crate) fn told(&mut self, now: Millis) {
        if let Some(loss) = &mut self.last {
            loss.told_at.get_or_insert(now);
        }
    }

    /// Whether an event is of a history that is gone.
    pub(crate) fn has_lost(&self, offset: i64, item: &Item) -> bool {
        self.lost.contains(&(offset, item.clone()))
    }

    /// As [`Histories::has_lost`], at whatever offset.
    pub(crate) fn has_lost_event(&self, item: &Item) -> bool {
        self.lost.iter().any(|(_, lost)| lost == item)
    }

    /// Where the last loss began, if it must be told before an event at that offset is read.
    pub(crate) fn is_to_be_told(&self, offset: i64) -> Option<i64> {
        let loss = self.last.as_ref()?;
        (loss.is_due && loss.told_at.is_none() && offset >= loss.from).then_some(loss.from)
    }

    /// Whether that commit may be of a history that is gone.
    pub(crate) fn may_have_committed(&self, now: Millis, committed: i64) -> bool {
        let is_over = |loss: &Loss| loss.told_at.is_some_and(|at| now > at + ON_THE_WAY);
        let upto = self.lost.last().map_or(0, |(offset, _)| offset + 1);
        self.last.as_ref().is_some_and(|loss| !is_over(loss)) && committed <= upto
    }
}
