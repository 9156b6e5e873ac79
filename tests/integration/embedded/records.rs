//! Producing and fetching by hand-made requests.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use highwater_kafka_broker::{Broker, Options};
use kafka_protocol::{
    ResponseError,
    messages::{
        self as m, FetchRequest, ProducerId, TransactionalId,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
    },
    protocol::StrBytes,
    records::{Compression, RecordBatchDecoder},
};

use super::raw::{Raw, batch, create, name, plain, produce, producing};

fn fetching(offset: i64, isolation: i8) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1_000_000);
    let wanted = FetchTopic::default().with_topic(name("topic")).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_bytes(1_000_000)
        .with_min_bytes(1)
        .with_isolation_level(isolation)
        .with_topics(vec![wanted])
}

async fn fetch(raw: &mut Raw, version: i16, request: FetchRequest) -> PartitionData {
    raw.ask(version, request).await.responses.remove(0).partitions.remove(0)
}

fn values(data: &PartitionData) -> Vec<String> {
    let sets = RecordBatchDecoder::decode_all(&mut data.records.clone().unwrap()).unwrap();
    let records = sets.into_iter().flat_map(|set| set.records).filter(|record| !record.control);
    records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

async fn broker_with_topic() -> (Broker, Raw) {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    create(&mut raw, "topic").await;
    (broker, raw)
}

#[tokio::test]
async fn a_fetch_that_finds_nothing_waits_and_an_append_wakes_it() {
    let (broker, mut raw) = broker_with_topic().await;
    let began = Instant::now();
    let empty = fetch(&mut raw, 11, fetching(0, 0).with_max_wait_ms(50)).await;
    assert!(began.elapsed() >= Duration::from_millis(50) && values(&empty).is_empty());
    let patient = fetching(0, 0).with_max_wait_ms(60_000);
    let correlation = raw.send(11, &patient).await.unwrap();
    let mut other = Raw::connect(&broker).await;
    assert_eq!(produce(&mut other, "topic", plain("a")).await, (0, 0));
    let mut answer = raw.answer::<FetchRequest>(11, correlation).await.unwrap();
    assert_eq!(values(&answer.responses.remove(0).partitions.remove(0)), ["a"]);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn offsets_outside_the_log_are_told_at_once() {
    let (broker, mut raw) = broker_with_topic().await;
    for value in ["a", "b"] {
        produce(&mut raw, "topic", plain(value)).await;
    }
    broker.delete_records_before("topic", 0, 1);
    for offset in [0, 3] {
        let data = fetch(&mut raw, 11, fetching(offset, 0).with_max_wait_ms(60_000)).await;
        assert_eq!(data.error_code, ResponseError::OffsetOutOfRange.code());
    }
    assert_eq!(values(&fetch(&mut raw, 11, fetching(1, 0)).await), ["b"]);
    broker.truncate("topic", 0, 1);
    assert_eq!(broker.end_offset("topic", 0), 1);
    let data = fetch(&mut raw, 11, fetching(2, 0)).await;
    assert_eq!(data.error_code, ResponseError::OffsetOutOfRange.code());
}

#[tokio::test]
async fn zstd_is_for_those_who_know_it() {
    let (_broker, mut raw) = broker_with_topic().await;
    let zstd = batch("z", Compression::Zstd, None);
    let old = raw.ask(6, producing("topic", -1, zstd.clone())).await;
    let unsupported = ResponseError::UnsupportedCompressionType.code();
    assert_eq!(old.responses[0].partition_responses[0].error_code, unsupported);
    assert_eq!(produce(&mut raw, "topic", zstd).await, (0, 0));
    assert_eq!(fetch(&mut raw, 4, fetching(0, 0)).await.error_code, unsupported);
    assert_eq!(values(&fetch(&mut raw, 10, fetching(0, 0)).await), ["z"]);
}

#[tokio::test]
async fn a_batch_beyond_the_topics_bound_is_refused() {
    let (_broker, mut raw) = broker_with_topic().await;
    let large = plain(&"x".repeat(1_048_588));
    assert_eq!(produce(&mut raw, "topic", large).await, (ResponseError::MessageTooLarge.code(), -1));
}

#[tokio::test]
async fn a_produce_that_wants_no_answer_gets_none_and_loses_its_connection_when_it_fails() {
    let (broker, mut raw) = broker_with_topic().await;
    raw.send(7, &producing("topic", 0, plain("a"))).await.unwrap();
    assert_eq!(produce(&mut raw, "topic", plain("b")).await, (0, 1));
    assert_eq!(broker.end_offset("topic", 0), 2);
    raw.send(7, &producing("nowhere", 0, plain("c"))).await.unwrap();
    raw.closed().await;
}

#[tokio::test]
async fn committed_readers_stop_at_an_open_transaction_and_are_told_of_aborted_ones() {
    let (_broker, mut raw) = broker_with_topic().await;
    let id = || TransactionalId(StrBytes::from_static_str("transactional"));
    let given = raw
        .ask(
            4,
            m::InitProducerIdRequest::default()
                .with_transactional_id(Some(id()))
                .with_transaction_timeout_ms(60_000),
        )
        .await;
    let (producer, epoch) = (given.producer_id, given.producer_epoch);
    for (sequence, (value, committed)) in (0..).zip([("kept", true), ("dropped", false)]) {
        let wanted = m::add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name("topic"))
            .with_partitions(vec![0]);
        let adding = m::AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_producer_id(producer)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![wanted]);
        let added = raw.ask(3, adding).await;
        let added = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(added.partition_error_code, 0);
        let records = batch(value, Compression::None, Some((producer.0, epoch, sequence)));
        assert_eq!(produce(&mut raw, "topic", records).await.0, 0);
        let open = fetch(&mut raw, 11, fetching(0, 1)).await;
        assert_eq!(open.last_stable_offset, open.high_watermark - 1);
        assert!(!values(&open).contains(&value.to_owned()));
        let ending = m::EndTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(producer)
            .with_producer_epoch(epoch)
            .with_committed(committed);
        assert_eq!(raw.ask(3, ending).await.error_code, 0);
    }
    let data = fetch(&mut raw, 11, fetching(0, 1)).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (4, 4));
    let aborted = data.aborted_transactions.unwrap();
    let aborted: BTreeMap<ProducerId, i64> =
        aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect();
    assert_eq!(aborted, BTreeMap::from([(producer, 2)]));
}

#[tokio::test]
async fn a_topic_is_created_once_with_its_settings_and_goes_with_what_was_committed() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    let config = m::create_topics_request::CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("retention.ms"))
        .with_value(Some(StrBytes::from_static_str("1000")));
    let wanted = m::create_topics_request::CreatableTopic::default()
        .with_name(name("topic"))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let creating = |topic| m::CreateTopicsRequest::default().with_topics(vec![topic]);
    let code = |answer: m::CreateTopicsResponse| answer.topics[0].error_code;
    let only_asking = creating(wanted.clone()).with_validate_only(true);
    assert_eq!(code(raw.ask(7, only_asking).await), 0);
    assert_eq!(code(raw.ask(7, creating(wanted.clone())).await), 0);
    assert_eq!(code(raw.ask(7, creating(wanted.clone())).await), ResponseError::TopicAlreadyExists.code());
    let other = wanted.clone().with_name(name("other"));
    let none = raw.ask(7, creating(other.clone().with_num_partitions(0))).await;
    assert_eq!(code(none), ResponseError::InvalidPartitions.code());
    let three = raw.ask(7, creating(other.with_replication_factor(3))).await;
    assert_eq!(code(three), ResponseError::InvalidReplicationFactor.code());
    let described = m::describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("topic"))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")]));
    let described = raw.ask(4, m::DescribeConfigsRequest::default().with_resources(vec![described])).await;
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("1000"));
    raw.ask(5, m::DeleteTopicsRequest::default().with_topic_names(vec![name("topic")])).await;
    let asked = m::metadata_request::MetadataRequestTopic::default().with_name(Some(name("topic")));
    let asking = m::MetadataRequest::default().with_topics(Some(vec![asked]));
    let unknown = raw.ask(9, asking.clone().with_allow_auto_topic_creation(false)).await;
    assert_eq!(unknown.topics[0].error_code, ResponseError::UnknownTopicOrPartition.code());
    let created = raw.ask(9, asking.with_allow_auto_topic_creation(true)).await;
    assert_eq!(created.topics[0].partitions.len(), 3);
}
