//! The protocol: every offered version works, and garbage does no harm.

use highwater_kafka_broker::{Broker, Fault, Options};
use kafka_protocol::{
    ResponseError,
    messages::{self as m, ApiKey},
    protocol::{Request, StrBytes},
};

use super::raw::{Raw, create, name, plain, producing};

async fn offered(raw: &mut Raw) -> Vec<(i16, i16, i16)> {
    let answer = raw.ask(0, m::ApiVersionsRequest::default()).await;
    answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect()
}

/// Sends the request in each offered version, once valid and once to be refused. The request can depend on the version.
async fn speak<R: Request>(broker: &Broker, offered: &[(i16, i16, i16)], request: impl Fn(i16) -> R) {
    let (_, min, max) = offered.iter().find(|(key, ..)| *key == R::KEY).expect("it is offered");
    let api = ApiKey::try_from(R::KEY).unwrap();
    for version in *min..=*max {
        let mut raw = Raw::connect(broker).await;
        raw.try_ask(version, request(version)).await.unwrap_or_else(|e| panic!("{api:?} {version}: {e}"));
        broker.faults().once(api, Fault::Refuse(ResponseError::UnknownServerError));
        let refused = raw.try_ask(version, request(version)).await;
        refused.unwrap_or_else(|e| panic!("{api:?} {version}, refused: {e}"));
    }
}

#[tokio::test]
async fn every_version_that_is_offered_is_answered_and_can_be_refused() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    create(&mut raw, "topic").await;
    let offered = offered(&mut raw).await;
    let (topic, group) = (|| name("topic"), || m::GroupId(StrBytes::from_static_str("group")));
    let member = || StrBytes::from_static_str("stranger");
    speak(&broker, &offered, |_| m::ApiVersionsRequest::default()).await;
    speak(&broker, &offered, |_| producing("topic", 1, plain("value"))).await;
    speak(&broker, &offered, |_| {
        let partition = m::fetch_request::FetchPartition::default().with_partition_max_bytes(1_000);
        let wanted = m::fetch_request::FetchTopic::default().with_topic(topic());
        let wanted = wanted.with_partitions(vec![partition]);
        m::FetchRequest::default().with_max_bytes(1_000).with_topics(vec![wanted])
    })
    .await;
    speak(&broker, &offered, |_| {
        let latest = m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
        let wanted = m::list_offsets_request::ListOffsetsTopic::default().with_name(topic());
        m::ListOffsetsRequest::default().with_topics(vec![wanted.with_partitions(vec![latest])])
    })
    .await;
    speak(&broker, &offered, |_| {
        let wanted = m::metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
        m::MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(true)
    })
    .await;
    speak(&broker, &offered, |_| {
        let partition = m::offset_commit_request::OffsetCommitRequestPartition::default();
        let wanted = m::offset_commit_request::OffsetCommitRequestTopic::default().with_name(topic());
        let wanted = wanted.with_partitions(vec![partition]);
        m::OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![wanted])
    })
    .await;
    speak(&broker, &offered, |version| match version {
        ..8 => {
            let wanted = m::offset_fetch_request::OffsetFetchRequestTopic::default().with_name(topic());
            let wanted = wanted.with_partition_indexes(vec![0]);
            m::OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![wanted]))
        }
        _ => {
            let wanted = m::offset_fetch_request::OffsetFetchRequestTopics::default().with_name(topic());
            let wanted = Some(vec![wanted.with_partition_indexes(vec![0])]);
            let of = m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group());
            m::OffsetFetchRequest::default().with_groups(vec![of.with_topics(wanted)])
        }
    })
    .await;
    speak(&broker, &offered, |version| match version {
        ..4 => m::FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("group")),
        _ => {
            let keys = vec![StrBytes::from_static_str("group")];
            m::FindCoordinatorRequest::default().with_coordinator_keys(keys)
        }
    })
    .await;
    speak(&broker, &offered, |_| {
        m::JoinGroupRequest::default()
            .with_group_id(group())
            .with_member_id(member())
            .with_session_timeout_ms(10_000)
    })
    .await;
    speak(&broker, &offered, |_| {
        m::SyncGroupRequest::default().with_group_id(group()).with_member_id(member())
    })
    .await;
    speak(&broker, &offered, |_| {
        m::HeartbeatRequest::default().with_group_id(group()).with_member_id(member())
    })
    .await;
    speak(&broker, &offered, |version| match version {
        ..3 => m::LeaveGroupRequest::default().with_group_id(group()).with_member_id(member()),
        _ => {
            let one = m::leave_group_request::MemberIdentity::default().with_member_id(member());
            m::LeaveGroupRequest::default().with_group_id(group()).with_members(vec![one])
        }
    })
    .await;
    speak(&broker, &offered, |_| m::DescribeGroupsRequest::default().with_groups(vec![group()])).await;
    speak(&broker, &offered, |_| m::ListGroupsRequest::default()).await;
    speak(&broker, &offered, |_| m::DeleteGroupsRequest::default().with_groups_names(vec![group()])).await;
    speak(&broker, &offered, |version| {
        let wanted = m::create_topics_request::CreatableTopic::default()
            .with_name(name(&format!("created-{version}")))
            .with_num_partitions(1)
            .with_replication_factor(1);
        m::CreateTopicsRequest::default().with_topics(vec![wanted])
    })
    .await;
    speak(&broker, &offered, |_| {
        let wanted = m::create_partitions_request::CreatePartitionsTopic::default();
        m::CreatePartitionsRequest::default().with_topics(vec![wanted.with_name(topic()).with_count(-1)])
    })
    .await;
    speak(&broker, &offered, |version| match version {
        ..6 => m::DeleteTopicsRequest::default().with_topic_names(vec![name("created-2")]),
        _ => {
            let wanted = m::delete_topics_request::DeleteTopicState::default();
            m::DeleteTopicsRequest::default().with_topics(vec![wanted.with_name(Some(name("created-3")))])
        }
    })
    .await;
    speak(&broker, &offered, |_| {
        let partition = m::delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
        let wanted = m::delete_records_request::DeleteRecordsTopic::default().with_name(topic());
        m::DeleteRecordsRequest::default().with_topics(vec![wanted.with_partitions(vec![partition])])
    })
    .await;
    speak(&broker, &offered, |_| {
        let partition = m::offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
        let wanted = m::offset_for_leader_epoch_request::OffsetForLeaderTopic::default().with_topic(topic());
        m::OffsetForLeaderEpochRequest::default().with_topics(vec![wanted.with_partitions(vec![partition])])
    })
    .await;
    speak(&broker, &offered, |_| {
        let wanted = m::describe_configs_request::DescribeConfigsResource::default().with_resource_type(2);
        let wanted = wanted.with_resource_name(StrBytes::from_static_str("topic"));
        m::DescribeConfigsRequest::default().with_resources(vec![wanted.with_configuration_keys(None)])
    })
    .await;
    speak(&broker, &offered, |_| m::InitProducerIdRequest::default().with_transaction_timeout_ms(1_000))
        .await;
    speak(&broker, &offered, |_| {
        let wanted = m::add_partitions_to_txn_request::AddPartitionsToTxnTopic::default().with_name(topic());
        let wanted = wanted.with_partitions(vec![0]);
        m::AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![wanted])
    })
    .await;
    speak(&broker, &offered, |_| {
        m::ConsumerGroupHeartbeatRequest::default().with_group_id(group()).with_member_id(member())
    })
    .await;
    speak(&broker, &offered, |_| m::ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]))
        .await;
    speak(&broker, &offered, |_| m::AddOffsetsToTxnRequest::default().with_group_id(group())).await;
    speak(&broker, &offered, |_| m::TxnOffsetCommitRequest::default().with_group_id(group())).await;
    speak(&broker, &offered, |_| m::EndTxnRequest::default()).await;
    let asked = offered.iter().filter(|(key, ..)| broker.faults().count(ApiKey::try_from(*key).unwrap()) > 1);
    assert_eq!(asked.count(), offered.len(), "each API was asked");
}

#[tokio::test]
async fn a_version_from_the_future_is_told_what_there_is_in_the_oldest_form() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    raw.write(&[0, 18, 0, 99, 0, 0, 0, 7]).await.unwrap();
    let answer = raw.read().await.unwrap();
    assert_eq!(answer[..6], [0, 0, 0, 7, 0, 35]);
    assert!(!offered(&mut raw).await.is_empty(), "the connection goes on");
}

#[tokio::test]
async fn garbage_closes_its_connection_and_no_other() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut good = Raw::connect(&broker).await;
    let endless_array = [&[0, 3, 0, 1, 0, 0, 0, 1, 255, 255][..], &[0x7f, 255, 255, 255]].concat();
    let endless_varint = [&[0, 3, 0, 12, 0, 0, 0, 1, 255, 255, 0][..], &[255, 255, 255, 255, 15]].concat();
    let frames: [&[u8]; 7] = [
        b"",
        b"\0",
        b"\0\x03",
        b"\x7f\xff\0\0\0\0\0\0",
        b"\0\x03\0\x63\0\0\0\0\xff\xff",
        &endless_array,
        &endless_varint,
    ];
    for frame in frames {
        let mut raw = Raw::connect(&broker).await;
        raw.write(frame).await.unwrap();
        raw.closed().await;
    }
    for start in [&b"\xff\xff\xff\xff"[..], b"\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut raw = Raw::connect(&broker).await;
        raw.write_unframed(start).await.unwrap();
        raw.closed().await;
    }
    assert!(!offered(&mut good).await.is_empty());
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    create(&mut raw, "topic").await;
    let mut sent = Vec::new();
    for value in ["a", "b", "c"] {
        sent.push(raw.send(7, &producing("topic", 1, plain(value))).await.unwrap());
    }
    for (offset, correlation) in (0..).zip(sent) {
        let answer = raw.answer::<m::ProduceRequest>(7, correlation).await.unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let idle_timeout = std::time::Duration::from_millis(50);
    let broker = Broker::start(Options { idle_timeout, ..Options::default() }).await.unwrap();
    Raw::connect(&broker).await.closed().await;
}
