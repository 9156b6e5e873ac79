//! Positions in a partition's log, with the leader epochs that tell histories of the log apart (KIP-320).

/// The next offset to read, and the leader epoch of the record before it (`FetchPosition` in Java's
/// `SubscriptionState`). After an election the epoch tells whether the log still has the records that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPosition {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it; `None` if it is not known, as for an offset that a person chose.
    pub leader_epoch: Option<i32>,
}

impl From<i64> for FetchPosition {
    /// A position whose leader epoch is not known.
    fn from(offset: i64) -> Self {
        Self { offset, leader_epoch: None }
    }
}

/// The leader epochs of a stretch of a log, each with the offset from which it counts (`LeaderEpochFileCache` in Java).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs(Vec<(i64, Option<i32>)>);

impl LeaderEpochs {
    /// The epochs before a position.
    pub fn before(position: FetchPosition) -> Self {
        Self(vec![(position.offset - 1, position.leader_epoch)])
    }

    /// From `start` on, records have this epoch.
    pub(crate) fn push(&mut self, start: i64, epoch: Option<i32>) {
        if self.0.last().is_none_or(|(_, last)| *last != epoch) {
            self.0.push((start, epoch));
        }
    }

    /// Adds the epochs of the following stretch.
    pub fn extend(&mut self, following: &Self) {
        following.0.iter().for_each(|(start, epoch)| self.push(*start, *epoch));
    }

    /// The position at an offset.
    pub(crate) fn position_at(&self, offset: i64) -> FetchPosition {
        let found = self.0.iter().rev().find(|(start, _)| *start < offset);
        FetchPosition { offset, leader_epoch: found.and_then(|(_, epoch)| *epoch) }
    }

    /// The end of what this history has in common with a leader's, which has that end of the largest epoch up to our last one.
    /// Where ours has a later epoch below that end, the leader's own records of the earlier one are others.
    pub fn common_end(&self, leaders: FetchPosition) -> FetchPosition {
        let later = self.0.iter().find(|(_, epoch)| *epoch > leaders.leader_epoch);
        match later.filter(|(start, _)| *start < leaders.offset) {
            Some((start, _)) => FetchPosition { offset: *start, ..leaders },
            None => leaders,
        }
    }

    /// Drops the epochs that no position at or after an offset needs.
    pub(crate) fn drop_before(&mut self, offset: i64) {
        let needless = self.0.iter().skip(1).take_while(|(start, _)| *start < offset).count();
        self.0.drain(..needless);
    }
}
