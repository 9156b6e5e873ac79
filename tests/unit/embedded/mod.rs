//! The embedded broker's state machines, without a socket.

mod consumer_group;
mod group;
mod log;
mod transactions;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

/// A producer that counts its records: its id, its epoch, the number of the next record.
type Counted = (i64, i16, i32);

/// A batch of these keys, each with its place in the batch as value and time.
fn batch_of(
    keys: &[&str],
    compression: Compression,
    (producer_id, producer_epoch, sequence): Counted,
) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(keys)
        .map(|(place, key)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(place),
            sequence: sequence.wrapping_add(place),
            timestamp: 1_000 + i64::from(place),
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::from(place.to_string())),
            headers: IndexMap::new(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

/// A batch of a producer that does not count.
fn batch(keys: &[&str]) -> Bytes {
    batch_of(keys, Compression::None, (-1, -1, -1))
}
