//! A log as one of several replicas: the batches that followers copy from the leader's log, and the offset at which two
//! histories diverge.

use std::{collections::HashMap, sync::Arc};

use super::{Batch, Head, PartitionLog, producers::Producers};
use crate::coordination::{GroupRecord, Subject};

/// A log of groups with more records is compacted.
const MOST_GROUP_RECORDS: usize = 1000;

impl PartitionLog {
    /// Begins a leader's epoch at the end of the log.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.begin(epoch, self.end);
    }

    /// The leader epoch of the last record; `None` in a log without any.
    pub(crate) fn last_epoch(&self) -> Option<i32> {
        self.epochs.before(self.end)
    }

    /// The batches from that offset on, up to so many.
    pub(crate) fn copies(&self, from: i64, most: usize) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| batch.last < from);
        self.batches.range(first..).take(most).cloned().collect()
    }

    /// Appends a leader's batch, unless it is there.
    pub(crate) fn copy(&mut self, batch: Batch) {
        if batch.base >= self.end {
            self.epochs.begin(batch.epoch, batch.base);
            self.add(batch);
        }
    }

    /// Cuts the log where it diverges from the leader's. `epoch` is the leader's last epoch up to the one that was asked for,
    /// and `end` is the end of that epoch (`ReplicaManager.truncateOnFetchResponse` in Java).
    pub(crate) fn part(&mut self, epoch: i32, end: i64) {
        match self.end_of_epoch(epoch) {
            Some((own, own_end)) if own == epoch => self.cut(end.min(own_end)),
            Some((_, own_end)) => self.cut(own_end),
            None => self.cut(end),
        }
    }

    /// Loses all from that offset on. A batch that reaches beyond it goes as a whole.
    pub(crate) fn cut(&mut self, offset: i64) {
        let offset = offset.max(0);
        while self.batches.back().is_some_and(|batch| batch.last >= offset) {
            self.batches.pop_back();
        }
        self.end = self.end.min(offset);
        self.start = self.start.min(self.end);
        self.open.retain(|_, first| *first < offset);
        self.aborted.retain(|aborted| aborted.marker < offset);
        self.epochs.cut(offset);
        // As from a snapshot: the numbers of an earlier batch count again (`ProducerStateManager.truncateAndReload`).
        self.producers = Producers::default();
        for batch in &self.batches {
            if let Ok(head) = Head::read(&batch.bytes) {
                self.producers.remember(&head, batch.base);
            }
        }
    }

    /// Appends a record of the log of groups, and returns its offset.
    pub(crate) fn append_group(&mut self, record: GroupRecord) -> i64 {
        let (base, epoch) = (self.end, self.epoch());
        let group = Some(Arc::new(record));
        self.add(Batch { base, last: base, epoch, max_timestamp: -1, bytes: Default::default(), group });
        base
    }

    /// The records of the log of groups from that offset on and below `limit`.
    pub(crate) fn group_records(&self, from: i64, limit: i64) -> impl Iterator<Item = &Arc<GroupRecord>> {
        let first = self.batches.partition_point(|batch| batch.last < from);
        let wanted = self.batches.range(first..).take_while(move |batch| batch.base < limit);
        wanted.filter_map(|batch| batch.group.as_ref())
    }

    /// Keeps the newest record of each subject below `limit`, if there are many.
    pub(crate) fn compact_groups(&mut self, limit: i64) {
        if self.batches.len() <= MOST_GROUP_RECORDS {
            return;
        }
        let mut newest: HashMap<Subject, i64> = HashMap::new();
        for batch in self.batches.iter().take_while(|batch| batch.base < limit) {
            if let Some(record) = &batch.group {
                newest.insert(record.subject(), batch.base);
            }
        }
        self.batches.retain(|batch| {
            let subject = batch.group.as_ref().filter(|_| batch.base < limit).map(|record| record.subject());
            subject.is_none_or(|subject| newest.get(&subject) == Some(&batch.base))
        });
    }
}
