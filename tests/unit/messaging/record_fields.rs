//! A record of a batch: its fields as they were written, its time, and its leader's epoch.

use bytes::Bytes;
use chrono::DateTime;
use highwater_kafka::{
    FetchPosition, Message,
    internals::{Decoded, EncodedRecord, decode_batches, encode_batch},
    wire::Fetched,
};
use kafka_protocol::records::{Compression, Record, RecordBatchDecoder};

use super::record_batch::{MOST, encode, record};

#[test]
fn what_is_written_is_read_by_ourselves_and_by_others_as_it_was() {
    let message = |millis, key: Option<&str>, value: Option<Vec<u8>>, headers: &[(&str, &str)]| Message {
        key: key.map(|key| key.as_bytes().to_vec()),
        value,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        timestamp: DateTime::from_timestamp_millis(millis).unwrap(),
        partition: None,
    };
    let messages = [
        message(1_700_000_000_500, Some("user-1"), Some(b"{}".to_vec()), &[]),
        message(1_700_000_000_000, None, None, &[("a", "1"), ("b", ""), ("a", "2")]), // the clock went back
        message(1_700_086_400_000, Some(""), Some(vec![7; 300]), &[]),
    ];
    let encoded = messages.each_ref().map(EncodedRecord::new);
    let batch = encode_batch(encoded.iter(), None);
    let Decoded { records: read, next, .. } = decode_batches(4, batch.clone(), 0, vec![], MOST).unwrap();
    assert_eq!(next, 3);
    for ((message, record), offset) in messages.iter().zip(&read).zip(0..) {
        assert_eq!((record.partition, record.offset), (4, offset));
        assert_eq!(record.timestamp, message.timestamp);
        assert_eq!(record.key.as_deref(), message.key.as_deref());
        assert_eq!(record.value.as_deref(), message.value.as_deref());
        let headers = record.headers.iter().map(|(name, value)| (name.into_owned(), value.unwrap().to_vec()));
        assert_eq!(headers.collect::<Vec<_>>(), message.headers);
    }
    let theirs = RecordBatchDecoder::decode(&mut batch.clone()).unwrap().records;
    let values: Vec<_> = theirs.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, messages.iter().map(|message| message.value.as_deref()).collect::<Vec<_>>());
    let timestamps: Vec<_> = theirs.iter().map(|record| record.timestamp).collect();
    assert_eq!(timestamps, [1_700_000_000_500, 1_700_000_000_000, 1_700_086_400_000]);
}

#[test]
fn a_record_has_the_brokers_time_where_its_batch_says_so() {
    let producers = encode(&[record(1, "a", -1, false), record(2, "b", -1, false)], Compression::None);
    let times = |batch: Bytes| {
        let decoded = decode_batches(0, batch, 1, vec![], MOST).unwrap();
        decoded.records.iter().map(|record| record.timestamp.timestamp_millis()).collect::<Vec<_>>()
    };
    assert_eq!(times(producers.clone()), [1_700_000_000_001, 1_700_000_000_002]);
    // As the broker stamps it: the attribute, and the greatest time.
    let mut stamped = producers.to_vec();
    stamped[22] |= 0x08;
    stamped[35..43].copy_from_slice(&1_800_000_000_000_i64.to_be_bytes());
    let checksum = crc32c::crc32c(&stamped[21..]);
    stamped[17..21].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(times(stamped.into()), [1_800_000_000_000; 2]);
}

#[test]
fn a_record_without_a_time_has_that_of_its_reading() {
    let none = Record { timestamp: -1, ..record(1, "a", -1, false) };
    let before = chrono::Utc::now().timestamp_millis();
    let decoded = decode_batches(0, encode(&[none], Compression::None), 1, vec![], MOST).unwrap();
    let time = decoded.records[0].timestamp.timestamp_millis();
    assert!((before..=chrono::Utc::now().timestamp_millis()).contains(&time), "{time}");
}

#[test]
fn a_record_has_the_epoch_of_the_leader_that_appended_it_and_what_is_read_that_of_each_batch() {
    let batches: Vec<u8> = [(1, 4_i32), (2, 4), (3, 7), (4, -1)]
        .iter()
        .flat_map(|(offset, epoch)| {
            let mut batch = encode(&[record(*offset, "v", -1, false)], Compression::None).to_vec();
            batch[12..16].copy_from_slice(&epoch.to_be_bytes());
            batch
        })
        .collect();
    let decoded = decode_batches(0, batches.into(), 1, vec![], MOST).unwrap();
    let epochs: Vec<_> = decoded.records.iter().map(|record| record.leader_epoch).collect();
    assert_eq!(epochs, [Some(4), Some(4), Some(7), None]);
    let mut fetched = Fetched::default();
    fetched.epochs = decoded.epochs;
    for (next, leader_epoch) in [(1, None), (3, Some(4)), (4, Some(7)), (5, None)] {
        fetched.next = next;
        assert_eq!(fetched.next_position(1.into()), FetchPosition { offset: next, leader_epoch });
    }
}
