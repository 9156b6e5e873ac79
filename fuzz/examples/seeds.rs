//! Writes `fuzz/seeds`: for each target a few sound inputs to begin with.

use std::{fs, io, path::Path};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    messages::{
        ApiVersionsResponse, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse,
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, CreateTopicsResponse,
        DescribeConfigsResponse, DescribeGroupsResponse, FetchResponse, FindCoordinatorResponse,
        HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, MetadataResponse, OffsetCommitResponse,
        OffsetFetchResponse, SyncGroupResponse, TopicName,
        api_versions_response::ApiVersion,
        consumer_group_describe_response as newer,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
        consumer_protocol_assignment::TopicPartition as Assigned,
        consumer_protocol_subscription::TopicPartition as Owned,
        create_topics_response::CreatableTopicResult,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
        join_group_response::JoinGroupResponseMember,
        leave_group_response::MemberResponse,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic},
    },
    protocol::{Encodable, Message, StrBytes},
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

const NAME: StrBytes = StrBytes::from_static_str("name");

fn main() -> io::Result<()> {
    batches()?;
    events()?;
    answers()?;
    members()?;
    fetches()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn encode(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).expect("a message of that version");
    bytes.freeze()
}

fn batches() -> io::Result<()> {
    let lines = "{\"userId\":\"u\",\"eventType\":\"LOGIN\"}\n\r\n \n{\"userId\":\n\"a line that is far longer than the limit, which is passed over\"\n{}";
    write("batch", "lines", format!("\u{5}\u{3}{lines}").as_bytes())
}

fn events() -> io::Result<()> {
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let whole = format!(
        r#"{{"eventId":"{id}","userId":"é\u00fc\ud83d\ude00","eventType":"LOGIN","timestamp":"2024-05-06T04:41:29.007+02:00","payload":{{"a":[1e5,-0.5,null,true,{{"b":"\n"}}]}},"more":[]}}"#
    );
    let posted = r#"{"userId":"u","eventType":"LOGIN","metadata":{"a":1},"payload":{}}"#;
    write("event", "record", format!("\0{whole}").as_bytes())?;
    write(
        "event",
        "record-without-timestamp",
        format!("\0{{\"eventId\":\"{id}\",\"userId\":\"u\",\"eventType\":\"t\"}}").as_bytes(),
    )?;
    write("event", "body-of-any-type", format!("\u{1}{posted}").as_bytes())?;
    write("event", "body-of-a-known-type", format!("\u{2}{whole}").as_bytes())
}

/// Kind, version, message: in the oldest version and in the newest one.
fn answer<M: Encodable + Message>(kind: u8, name: &str, message: &M) -> io::Result<()> {
    for version in [M::VERSIONS.min, M::VERSIONS.max] {
        let mut bytes = BytesMut::new();
        // Not each field is in each version.
        if message.encode(&mut bytes, version).is_ok() {
            let index = (version - M::VERSIONS.min) as u8;
            write("group", &format!("{name}-{version}"), &[&[kind, index], &bytes[..]].concat())?;
        }
    }
    Ok(())
}

fn answers() -> io::Result<()> {
    let topic = TopicName(NAME);
    answer(0, "api-versions", &ApiVersionsResponse::default().with_api_keys(vec![ApiVersion::default(); 2]))?;
    let partitions = TopicPartitions::default().with_partitions(vec![0, 1]);
    let assignment = Assignment::default().with_topic_partitions(vec![partitions]);
    answer(
        1,
        "group-heartbeat",
        &ConsumerGroupHeartbeatResponse::default().with_assignment(Some(assignment)),
    )?;
    let assigned = Assigned::default().with_topic(topic.clone()).with_partitions(vec![0, 1]);
    let assigned = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![assigned]);
    answer(2, "assignment", &assigned)?;
    let member = DescribedGroupMember::default()
        .with_member_id(NAME)
        .with_client_host(NAME)
        .with_member_assignment([&[0, 0], &encode(&assigned, 0)[..]].concat().into());
    let group = DescribedGroup::default().with_group_state(NAME).with_members(vec![member; 2]);
    answer(16, "describe-groups", &DescribeGroupsResponse::default().with_groups(vec![group]))?;
    let assigned =
        newer::TopicPartitions::default().with_topic_name(topic.clone()).with_partitions(vec![0, 1]);
    let assigned = newer::Assignment::default().with_topic_partitions(vec![assigned]);
    let member = newer::Member::default()
        .with_member_id(NAME)
        .with_client_host(NAME)
        .with_assignment(assigned.clone())
        .with_target_assignment(assigned);
    let group = newer::DescribedGroup::default().with_group_state(NAME).with_members(vec![member; 2]);
    let described = ConsumerGroupDescribeResponse::default().with_groups(vec![group]);
    answer(17, "group-describe", &described)?;
    let created = CreatableTopicResult::default().with_name(topic.clone());
    answer(3, "create-topics", &CreateTopicsResponse::default().with_topics(vec![created]))?;
    let setting = DescribeConfigsResourceResult::default().with_name(NAME).with_value(Some(NAME));
    let settings = DescribeConfigsResult::default().with_configs(vec![setting; 2]);
    answer(4, "describe-configs", &DescribeConfigsResponse::default().with_results(vec![settings]))?;
    answer(5, "find-coordinator", &FindCoordinatorResponse::default().with_host(NAME).with_port(9092))?;
    answer(6, "heartbeat", &HeartbeatResponse::default())?;
    let member =
        JoinGroupResponseMember::default().with_member_id(NAME).with_metadata(subscription(&[0, 1], 3));
    let join =
        JoinGroupResponse::default().with_leader(NAME).with_member_id(NAME).with_members(vec![member; 2]);
    answer(7, "join", &join)?;
    answer(8, "leave", &LeaveGroupResponse::default())?;
    let left = MemberResponse::default().with_member_id(NAME);
    answer(8, "leave-members", &LeaveGroupResponse::default().with_members(vec![left]))?;
    let partition = MetadataResponsePartition::default().with_replica_nodes(vec![1.into(), 2.into()]);
    let described =
        MetadataResponseTopic::default().with_name(Some(topic.clone())).with_partitions(vec![partition; 2]);
    let broker = MetadataResponseBroker::default().with_host(NAME);
    answer(
        9,
        "metadata",
        &MetadataResponse::default().with_topics(vec![described]).with_brokers(vec![broker]),
    )?;
    let committed = OffsetCommitResponseTopic::default()
        .with_name(topic.clone())
        .with_partitions(vec![OffsetCommitResponsePartition::default()]);
    answer(10, "offset-commit", &OffsetCommitResponse::default().with_topics(vec![committed]))?;
    let offset = OffsetFetchResponsePartition::default().with_committed_offset(7);
    let offsets = OffsetFetchResponseTopic::default().with_name(topic).with_partitions(vec![offset; 2]);
    answer(11, "offset-fetch", &OffsetFetchResponse::default().with_topics(vec![offsets]))?;
    answer(12, "sync", &SyncGroupResponse::default().with_assignment(Bytes::from_static(&[0; 10])))?;
    write("group", "header-0", &[13, 0, 0, 0, 0, 7])?;
    write("group", "header-1", &[13, 1, 0, 0, 0, 7, 0])?;
    write("group", "subscription-3", &[&[14, 3], &subscription(&[0, 1], 3)[..]].concat())
}

fn subscription(owned: &[i32], version: i16) -> Bytes {
    let mut subscription = ConsumerProtocolSubscription::default().with_topics(vec![NAME]);
    if version > 0 && !owned.is_empty() {
        let owned = Owned::default().with_topic(TopicName(NAME)).with_partitions(owned.to_vec());
        subscription.owned_partitions = vec![owned];
    }
    encode(&subscription, version)
}

fn members() -> io::Result<()> {
    for version in [0, 3] {
        let mut bytes = vec![15, version];
        for owned in [&[0, 1][..], &[1], &[]] {
            let subscription = subscription(owned, version.into());
            bytes.push(subscription.len() as u8);
            bytes.extend_from_slice(&subscription);
        }
        write("group", &format!("members-{version}"), &bytes)?;
    }
    Ok(())
}

fn batch(offset: i64, control: bool, transactional: bool, compression: Compression) -> Bytes {
    let key = if control { &[0, 0, 0, 0][..] } else { b"key" };
    let record = |offset: i64| Record {
        transactional,
        control,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: if transactional { 7 } else { -1 },
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_700_000_000_000 + offset,
        key: Some(Bytes::copy_from_slice(key)),
        value: Some(Bytes::from_static(b"value value value value")),
        headers: IndexMap::from([(NAME, Some(Bytes::from_static(b"one"))), (StrBytes::default(), None)]),
    };
    let records: Vec<_> = (offset..offset + if control { 1 } else { 2 }).map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a batch");
    bytes.freeze()
}

fn fetches() -> io::Result<()> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    for codec in [None, Gzip, Snappy, Lz4, Zstd] {
        let log = batch(0, false, false, codec);
        write("fetch", &format!("log-{codec:?}"), &[&[0x87, 0, 0], &log[..]].concat())?;
    }
    let log = [
        batch(0, false, true, None),
        batch(2, false, false, None),
        batch(4, true, true, None),
        batch(5, false, true, None),
    ]
    .concat();
    write("fetch", "log-with-an-aborted-transaction", &[&[0x87, 0, 1, 7, 0], &log[..]].concat())?;
    for version in [4, 7, 11] {
        let data = PartitionData::default()
            .with_high_watermark(7)
            .with_aborted_transactions(Some(vec![AbortedTransaction::default(); 2]))
            .with_records(Some(log.clone().into()));
        let topic = FetchableTopicResponse::default().with_topic(TopicName(NAME)).with_partitions(vec![data]);
        let answer = encode(&FetchResponse::default().with_responses(vec![topic]), version);
        write("fetch", &format!("answer-{version}"), &[&[version as u8 - 4, 0], &answer[..]].concat())?;
    }
    Ok(())
}
