//! Losses: offsets that were skipped, and topics that were recreated. They are counted, logged, and warnings in
//! `/health`.

use std::ops::Range;

use uuid::Uuid;

use super::{OffsetReset, Worker};
use crate::group::topic_id_text;

impl Worker {
    /// Reports that the next offset is not in the log.
    pub(super) fn report_reset(&self, from: i64, to: i64) {
        let skipped = u64::try_from(to - from).unwrap_or(0);
        self.counts.resets.add(1);
        self.counts.skipped.add(skipped);
        let rule = match self.reset {
            OffsetReset::Earliest => "earliest",
            OffsetReset::Latest => "latest",
        };
        let lost = match skipped {
            0 => String::new(),
            skipped => format!("; up to {skipped} records in between are not processed"),
        };
        self.registry.notice(format!(
            "topic {}: partition {}: offset {from} is out of the log's range; going on at {to} ({rule}){lost}",
            self.reader.topic(),
            self.partition
        ));
    }

    /// Reports that the log has lost the records at these offsets, which were read.
    pub(super) fn report_truncation(&self, offsets: &Range<i64>) {
        self.registry.notice(format!(
            "topic {}: partition {}: an unclean election truncated the log: the records that were read at offsets {} to {} \
             are not in it any more; going on at {}",
            self.reader.topic(),
            self.partition,
            offsets.start,
            offsets.end - 1,
            offsets.start
        ));
    }

    /// Reports that the topic was recreated. The workers of all its partitions come here.
    pub(super) fn report_recreation(&self, topic: Option<Uuid>) {
        let id = topic.map(|id| format!(" (its id is {})", topic_id_text(id))).unwrap_or_default();
        let is_news = self.registry.notice(format!(
            "topic {}: it was deleted and made again{id}: what was read of the old one is forgotten, and the new one is \
             read from its beginning",
            self.reader.topic()
        ));
        self.counts.recreations.add(is_news.into());
    }
}
