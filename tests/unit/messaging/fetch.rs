//! The decoder of Fetch answers.

use bytes::{Bytes, BytesMut};
use highwater_kafka::{
    internals::decode_fetch,
    wire::{Fetched, WireError},
};
use kafka_protocol::{
    ResponseError,
    indexmap::IndexMap,
    messages::{
        FetchResponse, TopicName,
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
    },
    protocol::{Encodable, StrBytes},
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=13;

fn batch(offset: i64) -> Bytes {
    let record = Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 7,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: 0,
        timestamp: 0,
        key: None,
        value: Some("value".into()),
        headers: IndexMap::new(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}

fn data(partition: i32) -> PartitionData {
    let log = [batch(5), batch(6)].concat();
    PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(9)
        .with_aborted_transactions(Some(vec![]))
        .with_records(Some(log.into()))
}

fn answer(partitions: Vec<PartitionData>, version: i16) -> Bytes {
    let topic = FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str("topic")))
        .with_partitions(partitions);
    let mut bytes = BytesMut::new();
    FetchResponse::default().with_responses(vec![topic]).encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn offsets(fetched: &Fetched) -> Vec<i64> {
    fetched.records.iter().map(|record| record.offset).collect()
}

#[test]
fn in_each_version_the_asked_partitions_records_are_found() {
    for version in VERSIONS {
        let other = data(2).with_records(None).with_high_watermark(1);
        let fetched = decode_fetch(answer(vec![other, data(3)], version), version, 3, 5).unwrap();
        assert_eq!((offsets(&fetched), fetched.next, fetched.end), (vec![5, 6], 7, 9), "version {version}");
        assert!(fetched.records.iter().all(|record| record.partition == 3));
        assert!(decode_fetch(answer(vec![data(2)], version), version, 3, 5).is_err(), "version {version}");
    }
}

#[test]
fn in_each_version_what_an_open_transaction_holds_back_is_told() {
    for version in VERSIONS {
        for (told, stable) in [(7, 7), (9, 9), (12, 9), (-1, 9)] {
            let data = data(3).with_last_stable_offset(told);
            let fetched = decode_fetch(answer(vec![data], version), version, 3, 5).unwrap();
            assert_eq!((fetched.stable, fetched.end), (stable, 9), "version {version}");
        }
    }
}

#[test]
fn in_each_version_aborted_transactions_are_left_out_and_no_records_are_none() {
    for version in VERSIONS {
        let aborted = AbortedTransaction::default().with_producer_id(7.into()).with_first_offset(6);
        let data = data(0).with_aborted_transactions(Some(vec![aborted]));
        let fetched = decode_fetch(answer(vec![data.clone()], version), version, 0, 5).unwrap();
        assert_eq!((offsets(&fetched), fetched.next), (vec![5], 7), "version {version}");
        let none = data.with_records(None).with_aborted_transactions(None);
        let fetched = decode_fetch(answer(vec![none], version), version, 0, 5).unwrap();
        assert_eq!((offsets(&fetched), fetched.next), (vec![], 5), "version {version}");
    }
}

#[test]
fn in_each_version_an_error_is_an_error() {
    for version in VERSIONS {
        let refused = data(0).with_error_code(ResponseError::NotLeaderOrFollower.code()).with_records(None);
        let error = decode_fetch(answer(vec![refused], version), version, 0, 5).unwrap_err();
        assert_eq!(error.code(), Some(ResponseError::NotLeaderOrFollower), "version {version}");
    }
    let mut whole = BytesMut::new();
    let refused = FetchResponse::default().with_error_code(ResponseError::UnknownServerError.code());
    refused.encode(&mut whole, 11).unwrap();
    let error = decode_fetch(whole.freeze(), 11, 0, 5).unwrap_err();
    assert_eq!(error.code(), Some(ResponseError::UnknownServerError));
}

#[test]
fn an_answer_that_is_cut_short_or_lies_is_malformed_and_costs_no_memory() {
    for version in VERSIONS {
        let bytes = answer(vec![data(0)], version);
        // The tagged fields of the topic and of the answer, which follow the records, are ignored.
        let looked_at = if version < 12 { bytes.len() } else { bytes.len() - 2 };
        for at in 0..looked_at {
            let cut = decode_fetch(bytes.slice(..at), version, 0, 5);
            assert!(matches!(cut, Err(WireError::Malformed { .. })), "version {version}, cut to {at} bytes");
            let lie = &i32::MAX.to_be_bytes()[..];
            let lying = [&bytes[..at], lie, &bytes[(at + lie.len()).min(bytes.len())..]].concat();
            let _whatever_but_the_end = decode_fetch(lying.into(), version, 0, 5);
        }
    }
}

#[test]
fn an_answer_that_only_throttles_says_for_how_long() {
    for version in VERSIONS {
        let mut bytes = BytesMut::new();
        FetchResponse::default().with_throttle_time_ms(1_500).encode(&mut bytes, version).unwrap();
        let error = decode_fetch(bytes.freeze(), version, 0, 5).unwrap_err();
        assert_eq!(error.to_string(), "Kafka throttles this client by a quota, for 1.5s", "{version}");
    }
}
