//! Compaction: the newest record of each key stays (`LogCleaner` in Java).

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    Batch, PartitionLog,
    batch::{Head, with_records},
    records,
};

impl PartitionLog {
    /// Keeps the newest record of each key and leaves gaps; records without a key go.
    ///
    /// As in Kafka, nothing at or beyond the last stable offset is touched, markers stay, a record with a null
    /// value stays, and a batch without records stays as a head if it is its producer's last
    /// or the log's. Unlike in Kafka, the newest segment takes part, and rewritten batches are not
    /// compressed. A batch that cannot be decoded stays as it is. An epoch without a batch is forgotten, as by a replica that
    /// is copied from the compacted log.
    pub fn compact(&mut self) {
        let stable = self.last_stable();
        let is_data = |batch: &Batch| {
            batch.last < stable && Head::read(&batch.bytes).is_ok_and(|head| !head.is_control())
        };
        let mut newest: HashMap<Bytes, i64> = HashMap::new();
        for batch in self.batches.iter().filter(|batch| is_data(batch)) {
            for record in records::read(&batch.bytes).into_iter().flatten() {
                if let Some(key) = record.key {
                    newest.insert(key, batch.base + record.offset_delta);
                }
            }
        }
        let last_base = self.batches.back().map(|batch| batch.base);
        let producers = &self.producers;
        self.batches.retain_mut(|batch| {
            let Some(records) = is_data(batch).then(|| records::read(&batch.bytes)).flatten() else {
                return true;
            };
            let before = records.len();
            let stays = |record: &records::Record| {
                let newest = record.key.as_ref().and_then(|key| newest.get(key));
                newest == Some(&(batch.base + record.offset_delta))
            };
            let kept: Vec<Bytes> = records.into_iter().filter(stays).map(|record| record.bytes).collect();
            if kept.len() < before {
                batch.bytes = with_records(&batch.bytes, &kept);
            }
            let producer = Head::read(&batch.bytes).map_or(-1, |head| head.producer_id);
            !kept.is_empty() || last_base == Some(batch.base) || producers.is_last_of(producer, batch.base)
        });
        self.epochs.forget(|epoch| self.batches.iter().any(|batch| batch.epoch == epoch));
    }
}
