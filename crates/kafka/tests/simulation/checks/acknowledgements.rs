//! What the producer's client is told of its events.

use highwater_kafka::{PublishError, Receipt};

use super::{Checks, Guarantee, Known};
use crate::members::Item;

impl Checks {
    /// An event's sending begins.
    pub(crate) fn sends(&self, item: &Item) {
        let mut known = self.known();
        let now = known.now;
        known.topics.sends.insert(item.key.clone(), now);
    }

    /// An event's sending has ended.
    pub(crate) fn sent(&self, item: &Item, result: &Result<Receipt, PublishError>) {
        let mut known = self.known();
        let now = known.now;
        known.trace.line(|| format!("{now} sent {item:?}: {result:?}"));
        match result {
            Ok(receipt) => {
                known.figures.acknowledged += 1;
                if let Some(silent) = &mut known.silent {
                    silent.remove(&item.key);
                }
                known.acknowledge(item, *receipt);
            }
            Err(error) => {
                known.figures.failed += 1;
                if !error.possibly_written() {
                    if known.written.contains(item) || known.topics.had_before(item) {
                        known.broken(Guarantee::Acknowledged, format!("{item:?} is in the log: {error}"));
                    }
                    known.unwritten.insert(item.clone());
                }
            }
        }
    }
}

impl Known {
    fn acknowledge(&mut self, item: &Item, receipt: Receipt) {
        let Receipt { partition, offset, .. } = receipt;
        let may_be_of_another = self.topics.may_be_of_another(item);
        let place = self.partition(partition);
        let log = &place.log;
        let is_here = |offset: i64| log.get(offset as usize) == Some(item);
        if may_be_of_another && !offset.is_some_and(is_here) {
            return;
        }
        let Some(offset) = offset else {
            if !place.histories.has_lost_event(item) && !self.written.contains(item) {
                self.broken(Guarantee::Acknowledged, format!("{item:?} was acknowledged, and is not there"));
            }
            return;
        };
        if log.get(offset as usize) != Some(item) {
            if place.histories.has_lost(offset, item) {
                return;
            }
            let what = format!(
                "{item:?} was acknowledged at {partition}/{offset}, where {:?} is",
                log.get(offset as usize)
            );
            self.broken(Guarantee::Acknowledged, what);
        }
        let last = self.acknowledged.insert((item.key.clone(), partition), (item.number, offset));
        if let Some((number, before)) = last.filter(|(_, before)| *before >= offset) {
            let what = format!("{item:?} is at {partition}/{offset}, and {number} before it at {before}");
            self.broken(Guarantee::Order, what);
        }
    }
}
