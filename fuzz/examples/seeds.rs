//! Writes `fuzz/seeds`: for each target a few sound inputs to begin with.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use flate2::write::GzEncoder;
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
    codings()?;
    cloud_events()?;
    segment_calls()?;
    requests()?;
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

/// Packed already, or to be packed by the target.
fn codings() -> io::Result<()> {
    const EVENT: &[u8] = br#"{"userId":"u","eventType":"LOGIN"}"#;
    /// [`EVENT`] by Node's `zlib.brotliCompressSync`.
    const BROTLI: &[u8] = &[
        0x8b, 0x10, 0x80, 0x7b, 0x22, 0x75, 0x73, 0x65, 0x72, 0x49, 0x64, 0x22, 0x3a, 0x22, 0x75, 0x22, 0x2c,
        0x22, 0x65, 0x76, 0x65, 0x6e, 0x74, 0x54, 0x79, 0x70, 0x65, 0x22, 0x3a, 0x22, 0x4c, 0x4f, 0x47, 0x49,
        0x4e, 0x22, 0x7d, 0x03,
    ];
    let many = EVENT.repeat(100);
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&many)?;
    let gzip = gzip.finish()?;
    let zstd = zstd::encode_all(EVENT, 19)?;
    write("codings", "gzip-beyond-the-bound", &[&[0, 6, 6], &gzip[..]].concat())?;
    write("codings", "zstd", &[&[1, 6, 6], &zstd[..]].concat())?;
    write("codings", "zstd-frames", &[&[1, 6, 0], &zstd[..], &zstd[..]].concat())?;
    write("codings", "br", &[&[2, 6, 6], BROTLI].concat())?;
    write("codings", "to-be-packed-by-gzip", &[&[0x81, 6, 6], EVENT].concat())?;
    write("codings", "to-be-packed-by-zstd", &[&[0x82, 6, 6], EVENT].concat())
}

/// The attributes of an event, and the same as headers.
const CLOUD_EVENT: &str = r#""specversion":"1.0","id":"A-1","source":"/s","type":"LOGIN","subject":"ann","time":"2026-05-01T10:00:00Z""#;
const BINARY: &str = "ce-id: A-1\nce-source: /s\nce-type: LOGIN\nce-subject: Euro%20%E2%82%AC\nce-time: 2026-05-01T10:00:00Z\nce-more: \"x\\\"\"\n";

fn cloud_events() -> io::Result<()> {
    for (name, data) in [
        ("object", r#""data":{"n":1.0,"a":[null,{}]},"dataschema":"https://e.org","attempt":2,"again":true"#),
        ("array", r#""data":[1,"x"],"datacontenttype":"application/json""#),
        ("text", r#""data":"<x/>","datacontenttype":"text/xml""#),
        ("bytes", r#""data_base64":"AP8=""#),
        ("names", r#""data":{"\ud800":1,"\u0061":2,"a":{}}"#),
    ] {
        write(
            "cloud_events",
            &format!("structured-{name}"),
            format!("\0{{{CLOUD_EVENT},{data}}}").as_bytes(),
        )?;
    }
    let uuid = CLOUD_EVENT.replace("A-1", "0f8fad5b-d9cb-469f-a165-70867728950e");
    let batch = format!("\u{2}[{{{CLOUD_EVENT}}},{{{uuid},\"data\":{{}}}},7]");
    write("cloud_events", "batch", batch.as_bytes())?;
    write(
        "cloud_events",
        "binary",
        format!("\u{1}{BINARY}content-type: application/json\n\n{{\"n\":1.0}}").as_bytes(),
    )?;
    write(
        "cloud_events",
        "binary-text",
        format!("\u{1}{BINARY}content-type: text/plain\n\nno JSON").as_bytes(),
    )
}

fn segment_calls() -> io::Result<()> {
    let call = r#""userId":"u","anonymousId":"a","messageId":"node-next-1","timestamp":"2026-05-01T10:00:00Z","context":{"ip":"::1"}"#;
    write(
        "segment",
        "track",
        format!("\0{{{call},\"event\":\"Item Bought\",\"properties\":{{\"sku\":1.0}}}}").as_bytes(),
    )?;
    write(
        "segment",
        "identify",
        format!("\u{1}{{{call},\"traits\":{{\"name\":\"\\ud83d\\ude00\"}}}}").as_bytes(),
    )?;
    let batch = format!(
        r#"{{"batch":[{{"type":"track","event":"x",{call}}},{{"type":"page",{call}}},{{"type":"no"}}],"sentAt":null}}"#
    );
    write("segment", "batch", format!("\u{6}{batch}").as_bytes())
}

/// A request for each route.
fn requests() -> io::Result<()> {
    let event = r#"{"userId":"u","eventType":"LOGIN","payload":{"n":1.0},"eventId":"0f8fad5b-d9cb-469f-a165-70867728950e"}"#;
    let json = "content-type: application/json\n";
    let admin = "authorization: Bearer token\n";
    for (name, text) in [
        ("generate", format!("POST /events/generate\n{json}x-correlation-id: mine\n\n{event}")),
        ("generate-cloud-event", format!("POST /events/generate\ncontent-type: application/cloudevents+json\n\n{{{CLOUD_EVENT}}}")),
        ("generate-binary", format!("POST /events/generate\nce-specversion: 1.0\n{BINARY}\n{{}}")),
        ("create", format!("POST /api/events\n\n{event}")),
        ("batch", format!("POST /events/batch?receipts=errors\n{json}\n[{event},7]")),
        ("batch-lines", format!("POST /events/batch\ncontent-type: application/x-ndjson\n\n{event}\n7\n")),
        ("batch-cloud-events", format!("POST /events/batch\ncontent-type: application/cloudevents-batch+json\n\n[{{{CLOUD_EVENT}}}]")),
        ("track", "POST /v1/track\n\n{\"userId\":\"u\",\"event\":\"x\"}".to_owned()),
        ("coded", format!("POST /events/generate\ncontent-encoding: gzip\nexpect: 100-continue\n\n{event}")),
        ("stream", "GET /events/stream?userId=u&eventType=LOGIN&from=2026-05-01T10:00:00Z\nlast-event-id: 0-0\n\n".to_owned()),
        ("processed", "GET /events/processed?limit=2&order=desc&cursor=0-0&to=2026-05-01T10:00:00Z\naccept: application/x-ndjson\n\n".to_owned()),
        ("event", "GET /events/processed/0f8fad5b-d9cb-469f-a165-70867728950e?wait=500ms\n\n".to_owned()),
        ("events", "GET /api/events?userId=u%20%E2%82%AC\n\n".to_owned()),
        ("of-user", "GET /api/events/user/u%20x\naccept: application/cloudevents-batch+json\n\n".to_owned()),
        ("of-type", "HEAD /api/events/type/login\n\n".to_owned()),
        ("erase", format!("DELETE /api/events/user/u\n{admin}\n")),
        ("erasure", format!("GET /api/events/erasures/0-3-1-0\n{admin}\n")),
        ("rejections", format!("GET /rejections?limit=7\n{admin}\n")),
        ("group", format!("GET /group\n{admin}\n")),
        ("metrics", "GET /metrics\naccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\n\n".to_owned()),
        ("ready", "GET /ready/read\n\n".to_owned()),
        ("health", "GET /health\n\n".to_owned()),
        ("document", "GET /openapi.json\naccept-encoding: gzip\nif-none-match: \"x\", W/\"y\"\n\n".to_owned()),
        ("page", "GET /swagger\n\n".to_owned()),
        ("console", "GET /console/style.css\n\n".to_owned()),
        ("options", "OPTIONS /v1/track\norigin: https://e.org\n\n".to_owned()),
        ("nothing", "PATCH /no/such/path\n\n".to_owned()),
    ] {
        write("routes", name, text.as_bytes())?;
    }
    Ok(())
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
