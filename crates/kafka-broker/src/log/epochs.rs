//! The leader epochs of a log (KIP-101, `LeaderEpochFileCache` in Java).

/// Each leader's epoch and the offset at which it began; the last is the one of now.
#[derive(Debug, Clone)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Default for Epochs {
    fn default() -> Self {
        Self(vec![(0, 0)])
    }
}

impl Epochs {
    /// The last one.
    pub(super) fn last(&self) -> i32 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// An epoch begins at that offset, unless it has begun. One without a record is forgotten.
    pub(super) fn begin(&mut self, epoch: i32, at: i64) {
        // A log that was cut at its first offset has none.
        if self.0.last().is_none_or(|(last, _)| epoch > *last) {
            self.cut(at);
            self.0.push((epoch, at));
        }
    }

    /// The largest epoch up to that one, and its end offset in a log that ends there; `None` if that epoch is later
    /// than all (`endOffsetFor`).
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch > self.last() {
            return None;
        }
        let next = self.0.partition_point(|(known, _)| *known <= epoch);
        let end = self.0.get(next).map_or(log_end, |(_, start)| *start);
        Some((next.checked_sub(1).map_or(epoch, |found| self.0[found].0), end))
    }

    /// The epoch of the record before that offset.
    pub(super) fn before(&self, offset: i64) -> Option<i32> {
        self.0.iter().rev().find(|(_, start)| *start < offset).map(|(epoch, _)| *epoch)
    }

    /// Forgets those without a record, but for the last.
    pub(super) fn forget(&mut self, has_record: impl Fn(i32) -> bool) {
        let last = self.last();
        self.0.retain(|(epoch, _)| *epoch == last || has_record(*epoch));
    }

    /// The log is cut at that offset.
    pub(super) fn cut(&mut self, offset: i64) {
        self.0.retain(|(_, start)| *start < offset);
    }
}
