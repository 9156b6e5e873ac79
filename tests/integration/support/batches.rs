//! Record batches as other producers write them.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

/// A builder of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    records: Vec<Record>,
    compression: Compression,
}

impl Batch {
    /// One record per value, each with the key "k".
    pub(crate) fn of<V: AsRef<str>>(values: &[V]) -> Self {
        Self::keyed(&values.iter().map(|value| ("k", Some(value.as_ref()))).collect::<Vec<_>>())
    }

    /// Keys and values; without a value it is a tombstone.
    pub(crate) fn keyed(pairs: &[(&str, Option<&str>)]) -> Self {
        let records = pairs.iter().enumerate().map(|(index, (key, value))| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: index as i64,
            sequence: index as i32 - 1,
            timestamp: chrono::Utc::now().timestamp_millis(),
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            headers: IndexMap::new(),
        });
        Self { records: records.collect(), compression: Compression::None }
    }

    pub(crate) fn without_keys(mut self) -> Self {
        self.records.iter_mut().for_each(|record| record.key = None);
        self
    }

    pub(crate) fn compressed(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    pub(crate) fn at(mut self, timestamp: i64) -> Self {
        self.records.iter_mut().for_each(|record| record.timestamp = timestamp);
        self
    }

    /// Each record gets this header too.
    pub(crate) fn header(mut self, name: &'static str, value: Option<&str>) -> Self {
        for record in &mut self.records {
            record.headers.insert(name.into(), value.map(|value| Bytes::copy_from_slice(value.as_bytes())));
        }
        self
    }

    /// The batch of an idempotent or transactional producer.
    pub(crate) fn by_producer(
        mut self,
        id: i64,
        epoch: i16,
        first_sequence: i32,
        transactional: bool,
    ) -> Self {
        for (index, record) in self.records.iter_mut().enumerate() {
            record.producer_id = id;
            record.producer_epoch = epoch;
            record.sequence = first_sequence + index as i32;
            record.transactional = transactional;
        }
        self
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: self.compression };
        RecordBatchEncoder::encode(&mut bytes, &self.records, &options).unwrap();
        bytes.freeze()
    }
}

/// Replaces bytes of an uncompressed batch by as many others, and updates its checksum.
pub(crate) fn rewritten(batch: &Bytes, from: &str, to: &str) -> Bytes {
    assert_eq!(from.len(), to.len());
    let mut bytes = batch.to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "{from} is not in the batch");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes.into()
}
