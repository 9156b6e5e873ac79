//! Kafka's rules that the crate relies on, tested by hand-made requests. The embedded broker and a
//! real one must answer alike, so that our broker and our client do not share a misunderstanding.

use std::time::{Duration, Instant};

use bytes::Bytes;
use highwater_kafka::wire::Connection;
use kafka_protocol::{
    ResponseError::{
        self, CorruptMessage, IllegalGeneration, MemberIdRequired, MessageTooLarge, NotLeaderOrFollower,
        OffsetOutOfRange, OutOfOrderSequenceNumber, RebalanceInProgress, UnknownMemberId,
        UnknownTopicOrPartition,
    },
    messages::{
        HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
        OffsetCommitRequest, ProducerId, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use crate::support::{
    Batch, TestCluster, eventually,
    requests::{GROUP, text},
};

/// The shortest session that Kafka's default settings grant.
const SHORT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(60);
/// The longest time in which a group takes a member in.
const DEADLINE: Duration = Duration::from_secs(90);
/// A subscription (version 0) to no topic and without user data. Kafka 4.1 decodes it when a generation begins.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

/// A member of the test's group, by hand.
struct Member<'a> {
    cluster: &'a TestCluster,
    connection: Connection,
    id: StrBytes,
    generation: i32,
    session: Duration,
    rebalance: Duration,
}

impl<'a> Member<'a> {
    async fn new(cluster: &'a TestCluster, session: Duration, rebalance: Duration) -> Self {
        let connection = cluster.coordinator(&cluster.group, GROUP).await;
        Self { cluster, connection, id: StrBytes::default(), generation: -1, session, rebalance }
    }

    async fn ask_to_join(&mut self) -> JoinGroupResponse {
        let range = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(SUBSCRIPTION));
        let request = JoinGroupRequest::default()
            .with_group_id(self.cluster.group_id())
            .with_session_timeout_ms(self.session.as_millis() as i32)
            .with_rebalance_timeout_ms(self.rebalance.as_millis() as i32)
            .with_member_id(self.id.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![range]);
        self.connection.call(&request, 4..=5).await.unwrap()
    }

    /// Joins for good, with the id it has or is given; tells who leads and how many the leader is told of.
    async fn join(&mut self) -> JoinGroupResponse {
        let began = Instant::now();
        loop {
            let answer = self.ask_to_join().await;
            match error(answer.error_code) {
                None => {
                    self.id = answer.member_id.clone();
                    self.generation = answer.generation_id;
                    return answer;
                }
                Some(MemberIdRequired) => self.id = answer.member_id,
                // A coordinator is still loading the group, or another broker has become the coordinator.
                Some(error) if error.is_retriable() => {
                    self.connection = self.cluster.coordinator(&self.cluster.group, GROUP).await;
                }
                Some(error) => panic!("{error}"),
            }
            assert!(began.elapsed() < DEADLINE, "still not a member");
        }
    }

    async fn sync(&mut self, assigns: &[&StrBytes]) -> Option<ResponseError> {
        let assignments = assigns.iter().map(|id| {
            SyncGroupRequestAssignment::default().with_member_id((*id).clone()).with_assignment("a".into())
        });
        let request = SyncGroupRequest::default()
            .with_group_id(self.cluster.group_id())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(assignments.collect());
        let answer = self.connection.call(&request, 0..=3).await.unwrap();
        if answer.error_code == 0 {
            assert_eq!(answer.assignment, Bytes::from_static(b"a"));
        }
        error(answer.error_code)
    }

    async fn heartbeat(&mut self) -> Option<ResponseError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.cluster.group_id())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        error(self.connection.call(&request, 0..=3).await.unwrap().error_code)
    }

    async fn commit(&mut self, offset: i64) -> Option<ResponseError> {
        let partition =
            OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(self.cluster.topic_name())
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.cluster.group_id())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        let answer = self.connection.call(&request, 2..=7).await.unwrap();
        error(answer.topics[0].partitions[0].error_code)
    }

    async fn leave(&mut self) -> Option<ResponseError> {
        let member = MemberIdentity::default().with_member_id(self.id.clone());
        let request =
            LeaveGroupRequest::default().with_group_id(self.cluster.group_id()).with_members(vec![member]);
        let answer = self.connection.call(&request, 3..=4).await.unwrap();
        error(answer.error_code).or(error(answer.members[0].error_code))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_is_given_an_id_first_and_belongs_to_one_generation() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut member = Member::new(&cluster, LONG, LONG).await;
    let first = eventually("the coordinator answers", async || {
        let answer = Member::new(&cluster, LONG, LONG).await.ask_to_join().await;
        error(answer.error_code).is_none_or(|error| !error.is_retriable()).then_some(answer)
    })
    .await;
    assert_eq!(error(first.error_code), Some(MemberIdRequired));
    assert!(!first.member_id.is_empty());
    member.id = text("nobody-gave-it-this-id");
    assert_eq!(error(member.ask_to_join().await.error_code), Some(UnknownMemberId));

    member.id = StrBytes::default();
    let joined = member.join().await;
    assert_eq!(joined.leader, member.id);
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(member.commit(1).await, Some(RebalanceInProgress), "before the assignment");
    let own = member.id.clone();
    assert_eq!(member.sync(&[&own]).await, None);
    assert_eq!(member.heartbeat().await, None);
    assert_eq!(member.commit(7).await, None);

    member.generation += 1;
    assert_eq!(member.heartbeat().await, Some(IllegalGeneration));
    assert_eq!(member.sync(&[]).await, Some(IllegalGeneration));
    assert_eq!(member.commit(8).await, Some(IllegalGeneration));
    member.generation -= 1;
    member.id = text("another");
    assert_eq!(member.heartbeat().await, Some(UnknownMemberId));
    assert_eq!(member.sync(&[]).await, Some(UnknownMemberId));
    assert_eq!(member.commit(8).await, Some(UnknownMemberId));
    let mut stranger = Member::new(&cluster, LONG, LONG).await;
    assert_eq!(stranger.commit(8).await, Some(UnknownMemberId), "a group with members is not open to all");
    assert_eq!(cluster.committed_of(0).await, 7);

    member.id = own;
    assert_eq!(member.leave().await, None);
    assert_eq!(member.leave().await, Some(UnknownMemberId));
    // For a moment the group waits for the member that asked first and never joined.
    eventually("an empty group's offsets can be set", async || {
        let outcome = Member::new(&cluster, LONG, LONG).await.commit(9).await;
        outcome.is_none().then_some(())
    })
    .await;
    assert_eq!(cluster.committed_of(0).await, 9);
}

/// A group of two at work.
async fn two_at_work<'a>(mut one: Member<'a>, mut two: Member<'a>) -> (Member<'a>, Member<'a>) {
    one.join().await;
    let (own, before) = (one.id.clone(), one.generation);
    assert_eq!(one.sync(&[&own]).await, None);
    let first = async {
        eventually("the group rebalances", async || {
            let mut heart = Member::new(one.cluster, LONG, LONG).await;
            (heart.id, heart.generation) = (one.id.clone(), one.generation);
            (heart.heartbeat().await == Some(RebalanceInProgress)).then_some(())
        })
        .await;
        assert_eq!(one.commit(3).await, None, "what was done is committed before partitions go");
        assert_eq!(one.sync(&[]).await, Some(RebalanceInProgress));
        one.join().await;
        one
    };
    let (mut one, joined) = tokio::join!(first, two.join());
    assert_eq!((one.generation, two.generation), (before + 1, before + 1));
    assert_eq!(joined.leader, one.id, "the leader stays");
    assert!(joined.members.is_empty(), "only the leader is told who is there");
    let (first, second) = (one.id.clone(), two.id.clone());
    let assigns = [&first, &second];
    assert_eq!(tokio::join!(two.sync(&[]), one.sync(&assigns)), (None, None));
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_makes_a_new_generation_and_the_old_one_cannot_commit() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let (one, two) = (Member::new(&cluster, LONG, LONG).await, Member::new(&cluster, LONG, LONG).await);
    let (mut one, mut two) = two_at_work(one, two).await;
    one.generation -= 1;
    assert_eq!(one.commit(4).await, Some(IllegalGeneration));
    one.generation += 1;
    assert_eq!(two.leave().await, None);
    assert_eq!(two.heartbeat().await, Some(UnknownMemberId));
    assert_eq!(one.heartbeat().await, Some(RebalanceInProgress));
    assert_eq!(one.join().await.members.len(), 1);
    assert_eq!(cluster.committed_of(0).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_falls_silent_is_out_when_its_session_is_over() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let (one, two) = (Member::new(&cluster, LONG, LONG).await, Member::new(&cluster, SHORT, LONG).await);
    let (mut one, mut silent) = two_at_work(one, two).await;
    let began = Instant::now();
    loop {
        match one.heartbeat().await {
            Some(RebalanceInProgress) => break,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
            Some(error) => panic!("{error}"),
        }
    }
    // Its session began when it was heard of last, a moment before.
    assert!(began.elapsed() > SHORT - Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(one.join().await.members.len(), 1);
    assert_eq!(silent.heartbeat().await, Some(UnknownMemberId));
    assert_eq!(silent.commit(99).await, Some(UnknownMemberId));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_join_again_in_time_is_out() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut slow = Member::new(&cluster, LONG, SHORT).await;
    slow.join().await;
    let own = slow.id.clone();
    assert_eq!(slow.sync(&[&own]).await, None);
    let mut other = Member::new(&cluster, LONG, SHORT).await;
    let joined = other.join().await;
    assert_eq!(joined.members.len(), 1, "the group does not wait for it any longer");
    assert_eq!(joined.leader, other.id);
    assert_eq!(slow.heartbeat().await, Some(UnknownMemberId));
}

/// Fetches once, waiting up to so long, from a leader that knows that it is.
async fn fetch(cluster: &TestCluster, offset: i64, max_wait_ms: i32) -> Result<usize, ResponseError> {
    eventually("the leader leads", async || {
        let mut leader = cluster.leader(0).await;
        match leader.fetch(&cluster.topic, 0, offset, 1024 * 1024, max_wait_ms).await {
            Ok(fetched) => Some(Ok(fetched.records.len())),
            Err(error) => match error.code().unwrap() {
                NotLeaderOrFollower | UnknownTopicOrPartition => None,
                error => Some(Err(error)),
            },
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_beyond_the_end_is_refused_and_one_at_the_end_waits_for_a_record() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    for offset in [1, -1] {
        assert_eq!(fetch(&cluster, offset, 0).await, Err(OffsetOutOfRange));
    }
    assert_eq!(fetch(&cluster, 0, 0).await.unwrap(), 0);
    let began = Instant::now();
    let waiting = fetch(&cluster, 0, 20_000);
    let (found, _) = tokio::join!(waiting, cluster.produce(0, Batch::of(&["it"]).encode()));
    assert_eq!(found.unwrap(), 1);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_are_damaged_or_too_large_are_refused() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[("max.message.bytes", "1000")]).await;
    let mut damaged = Batch::of(&["damaged"]).encode().to_vec();
    damaged[70] ^= 0x01;
    assert_eq!(cluster.try_produce(0, damaged.into()).await, Err(CorruptMessage));
    let large = Batch::of(&["x".repeat(2_000)]).encode();
    assert_eq!(cluster.try_produce(0, large).await, Err(MessageTooLarge));
    assert_eq!(cluster.produce(0, Batch::of(&["good"]).encode()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_twice_is_there_once_and_one_that_comes_too_early_is_refused() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let (id, epoch) = eventually("there is an id", async || {
        let answer = cluster.connect().await.call(&request, 0..=4).await.unwrap();
        (answer.error_code == 0).then_some((answer.producer_id.0, answer.producer_epoch))
    })
    .await;
    let batch = |sequence| Batch::of(&["one", "two"]).by_producer(id, epoch, sequence, false).encode();
    assert_eq!(cluster.produce(0, batch(0)).await, 0);
    assert_eq!(cluster.produce(0, batch(2)).await, 2);
    assert_eq!(cluster.produce(0, batch(0)).await, 0, "the answer that was lost");
    assert_eq!(cluster.try_produce(0, batch(6)).await, Err(OutOfOrderSequenceNumber));
    assert_eq!(cluster.end_of(0).await, 4);
}
