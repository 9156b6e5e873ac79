//! A group over TCP: the answers to each member.

use std::time::Duration;

use bytes::Bytes;
use highwater_kafka_broker::{Broker, Options};
use kafka_protocol::{
    ResponseError,
    messages::{
        GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest,
        SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};
use tokio::time::timeout;

use super::raw::{Raw, create, name};

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("group"))
}

fn joining(member: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member.clone())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol])
}

/// Gets an id and joins with it, as clients since KIP-394 do.
async fn join(raw: &mut Raw) -> JoinGroupResponse {
    let first = raw.ask(9, joining(&StrBytes::default())).await;
    assert_eq!(first.error_code, ResponseError::MemberIdRequired.code());
    raw.ask(9, joining(&first.member_id)).await
}

async fn sync(raw: &mut Raw, joined: &JoinGroupResponse) -> (i16, Bytes) {
    let assignments = joined.members.iter().map(|member| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(Bytes::from(member.member_id.as_bytes().to_vec()))
    });
    let syncing = SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id)
        .with_assignments(assignments.collect());
    let answer = raw.ask(5, syncing).await;
    (answer.error_code, answer.assignment)
}

async fn beat(raw: &mut Raw, joined: &JoinGroupResponse) -> i16 {
    let beating = HeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id);
    raw.ask(4, beating).await.error_code
}

async fn commit(raw: &mut Raw, joined: &JoinGroupResponse, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default().with_name(name("topic")).with_partitions(vec![partition]);
    let committing = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(joined.member_id.clone())
        .with_generation_id_or_member_epoch(joined.generation_id)
        .with_topics(vec![topic]);
    raw.ask(8, committing).await.topics[0].partitions[0].error_code
}

#[tokio::test]
async fn two_members_share_a_group_and_only_its_generation_commits() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let (mut one, mut two) = (Raw::connect(&broker).await, Raw::connect(&broker).await);
    create(&mut one, "topic").await;
    let first = join(&mut one).await;
    assert_eq!(sync(&mut one, &first).await, (0, Bytes::from(first.member_id.as_bytes().to_vec())));
    assert_eq!(commit(&mut one, &first, 7).await, 0);
    assert_eq!(broker.committed("group", "topic", 0), Some(7));

    let joins = tokio::spawn(async move {
        let second = join(&mut two).await;
        let (error, assignment) = sync(&mut two, &second).await;
        (second, error, assignment)
    });
    let rebalance = ResponseError::RebalanceInProgress.code();
    let asked = async { while beat(&mut one, &first).await != rebalance {} };
    timeout(Duration::from_secs(60), asked).await.expect("the first is asked to join again");
    let again = one.ask(9, joining(&first.member_id)).await;
    assert_eq!((again.generation_id, again.members.len()), (first.generation_id + 1, 2));
    assert_eq!(sync(&mut one, &again).await.0, 0);
    let (second, error, assignment) = joins.await.unwrap();
    assert_eq!((error, &assignment[..]), (0, second.member_id.as_bytes()));
    assert_eq!(commit(&mut one, &first, 8).await, ResponseError::IllegalGeneration.code());
    assert_eq!(broker.committed("group", "topic", 0), Some(7));
    assert_eq!(broker.members("group").len(), 2);
}

#[tokio::test]
async fn a_session_that_kafka_would_not_grant_is_refused() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    let answer = raw.ask(9, joining(&StrBytes::default()).with_session_timeout_ms(5_999)).await;
    assert_eq!(answer.error_code, ResponseError::InvalidSessionTimeout.code());
}

#[tokio::test]
async fn a_commit_of_a_member_to_a_group_that_is_none_is_of_another_generation() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    create(&mut raw, "topic").await;
    let stranger = JoinGroupResponse::default().with_generation_id(3);
    assert_eq!(commit(&mut raw, &stranger, 1).await, ResponseError::IllegalGeneration.code());
    let nobody = JoinGroupResponse::default().with_generation_id(-1);
    assert_eq!(commit(&mut raw, &nobody, 1).await, 0);
    assert_eq!(broker.committed("group", "topic", 0), Some(1));
}
