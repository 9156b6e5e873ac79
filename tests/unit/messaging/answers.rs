//! The decoding of answers from brokers and of metadata from other members.

use std::{fmt::Debug, ops::RangeInclusive};

use bytes::{Bytes, BytesMut};
use highwater_kafka::internals::decode;
use kafka_protocol::{
    messages::{
        ConsumerGroupHeartbeatResponse, ConsumerProtocolSubscription, CreateTopicsResponse,
        DescribeConfigsResponse, JoinGroupResponse, MetadataResponse, OffsetFetchResponse, TopicName,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
        create_topics_response::CreatableTopicResult,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        join_group_response::JoinGroupResponseMember,
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
        offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic},
    },
    protocol::{Decodable, Encodable, StrBytes},
};

const NAME: StrBytes = StrBytes::from_static_str("a-name");
/// The largest numbers that fit where a number of elements stands.
const LIES: [&[u8]; 2] = [&i32::MAX.to_be_bytes(), &[0xff, 0xff, 0xff, 0xff, 0x0f]];

fn encode<M: Encodable>(message: &M, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

/// In each version it is read back, cut short it is an error, and with any number in it blown up it takes no more
/// memory than there is: the process would end here.
fn withstands<M: Encodable + Decodable + PartialEq + Debug>(message: &M, versions: RangeInclusive<i16>) {
    for version in versions {
        let bytes = encode(message, version);
        assert_eq!(&decode::<M>(bytes.clone(), version).unwrap(), message, "version {version}");
        for at in 0..bytes.len() {
            assert!(decode::<M>(bytes.slice(..at), version).is_err(), "version {version}, cut to {at} bytes");
            for lie in LIES {
                let lying = [&bytes[..at], lie, &bytes[(at + lie.len()).min(bytes.len())..]].concat();
                let _whatever_but_the_end = decode::<M>(lying.into(), version);
            }
        }
    }
}

#[test]
fn what_a_group_answers_reserves_no_memory_for_what_is_not_there() {
    let member =
        JoinGroupResponseMember::default().with_member_id(NAME).with_metadata(Bytes::from_static(b"data"));
    let join = JoinGroupResponse::default().with_leader(NAME).with_member_id(NAME);
    withstands(&join.with_members(vec![member.clone(), member]), 2..=9);
    let partition = OffsetFetchResponsePartition::default().with_committed_offset(7);
    let topic = OffsetFetchResponseTopic::default().with_name(TopicName(NAME));
    let topic = topic.with_partitions(vec![partition.clone(), partition]);
    withstands(&OffsetFetchResponse::default().with_topics(vec![topic.clone(), topic]), 2..=7);
    let topic = TopicPartitions::default().with_partitions(vec![1, 2, 3]);
    let assignment = Assignment::default().with_topic_partitions(vec![topic.clone(), topic]);
    withstands(&ConsumerGroupHeartbeatResponse::default().with_assignment(Some(assignment)), 0..=1);
}

#[test]
fn what_a_cluster_says_of_its_topics_reserves_no_memory_for_what_is_not_there() {
    let partition = MetadataResponsePartition::default().with_replica_nodes(vec![1.into(), 2.into()]);
    let topic = MetadataResponseTopic::default().with_name(Some(TopicName(NAME)));
    let topic = topic.with_partitions(vec![partition.clone(), partition]);
    withstands(&MetadataResponse::default().with_topics(vec![topic.clone(), topic]), 4..=9);
    let setting = DescribeConfigsResourceResult::default().with_name(NAME).with_value(Some(NAME));
    let settings = DescribeConfigsResult::default().with_configs(vec![setting.clone(), setting]);
    withstands(&DescribeConfigsResponse::default().with_results(vec![settings]), 1..=4);
    let topic = CreatableTopicResult::default().with_name(TopicName(NAME));
    withstands(&CreateTopicsResponse::default().with_topics(vec![topic.clone(), topic]), 2..=5);
}

#[test]
fn what_another_member_says_of_itself_reserves_no_memory_for_what_is_not_there() {
    let subscription = ConsumerProtocolSubscription::default().with_topics(vec![NAME, NAME]);
    withstands(&subscription.with_user_data(Some(Bytes::from_static(b"data"))), 0..=3);
}

#[test]
fn a_number_after_a_flag_that_is_neither_is_still_looked_at() {
    // A topic that is internal by 0x80: the next byte must not pass for the second one of a number.
    let topic = MetadataResponseTopic::default().with_name(Some(TopicName(NAME))).with_is_internal(true);
    let bytes = encode(&MetadataResponse::default().with_topics(vec![topic]), 9);
    for at in 0..bytes.len() {
        let lying = [&bytes[..at], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x0f], &bytes[at..]].concat();
        let _whatever_but_the_end = decode::<MetadataResponse>(lying.into(), 9);
    }
}
