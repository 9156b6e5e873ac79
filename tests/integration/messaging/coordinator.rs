//! What a coordinator of the consumer protocol (KIP-848) answers to hand-made heartbeats: the embedded one, and Kafka's where
//! TEST_KAFKA_BROKERS names Kafka 4. So the one is what the other is.

use std::{collections::BTreeSet, time::Duration};

use highwater_kafka::wire::Connection;
use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, JoinGroupRequest, OffsetCommitRequest,
        OffsetFetchRequest, TopicName,
        consumer_group_describe_response::DescribedGroup,
        consumer_group_heartbeat_request::TopicPartitions,
        join_group_request::JoinGroupRequestProtocol,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::kip848::cluster;
use crate::support::{
    TestCluster, eventually,
    requests::{GROUP, text},
};

/// How long an assignment may take that comes by itself.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

type Numbers = BTreeSet<i32>;
/// The epoch, and the assignment if it is told.
type Told = (i32, Option<Numbers>);

/// A member that does only what it is told to.
struct Member<'a> {
    cluster: &'a TestCluster,
    connection: Connection,
    topic: Uuid,
    id: String,
    instance: Option<String>,
    /// The epoch of the last answer.
    epoch: i32,
}

impl<'a> Member<'a> {
    async fn new(cluster: &'a TestCluster, instance: Option<&str>) -> Self {
        let connection = eventually("the coordinator has loaded the group", async || {
            let mut coordinator = cluster.coordinator(&cluster.group, GROUP).await;
            let error = described(&mut coordinator, cluster).await.error_code;
            let is_not_ready = ResponseError::try_from_code(error).is_some_and(|error| error.is_retriable());
            (!is_not_ready).then_some(coordinator)
        })
        .await;
        let (topic, id) = (cluster.topic_id().await, Uuid::new_v4().to_string());
        Self { cluster, connection, topic, id, instance: instance.map(str::to_owned), epoch: 0 }
    }

    /// A new one that has joined, and what it got.
    async fn joined(cluster: &'a TestCluster) -> (Self, Numbers) {
        let mut member = Self::new(cluster, None).await;
        let (_, assigned) = member.join().await.unwrap();
        (member, assigned.unwrap())
    }

    fn request(&self, epoch: i32, owned: Option<&Numbers>) -> ConsumerGroupHeartbeatRequest {
        let partitions = |owned: &Numbers| {
            let partitions = TopicPartitions::default().with_topic_id(self.topic);
            let partitions = partitions.with_partitions(owned.iter().copied().collect());
            Vec::from_iter((!owned.is_empty()).then_some(partitions))
        };
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.cluster.group_id())
            .with_member_id(text(&self.id))
            .with_member_epoch(epoch)
            .with_instance_id(self.instance.as_deref().map(text))
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(owned.map(partitions))
    }

    fn joining(&self) -> ConsumerGroupHeartbeatRequest {
        self.request(0, Some(&Numbers::new()))
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![self.cluster.topic_name()]))
    }

    async fn send(&mut self, request: ConsumerGroupHeartbeatRequest) -> Result<Told, ResponseError> {
        let answer = self.connection.call(&request, 1..=1).await.unwrap();
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            return Err(error);
        }
        self.epoch = answer.member_epoch;
        let assigned = answer.assignment.map(|assignment| {
            assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
        });
        Ok((answer.member_epoch, assigned))
    }

    async fn join(&mut self) -> Result<Told, ResponseError> {
        self.send(self.joining()).await
    }

    async fn at(&mut self, epoch: i32, owned: Option<&Numbers>) -> Result<Told, ResponseError> {
        self.send(self.request(epoch, owned)).await
    }

    /// A heartbeat of the last answer's epoch.
    async fn beat(&mut self, owned: Option<&Numbers>) -> Result<Told, ResponseError> {
        self.at(self.epoch, owned).await
    }

    /// Beats, owning that, until it is told this assignment.
    async fn until_assigned(&mut self, owned: Option<&Numbers>, wanted: &Numbers) {
        let beating = async {
            while self.beat(owned).await.unwrap().1.as_ref() != Some(wanted) {
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, beating).await.expect("it is assigned");
    }

    async fn commit(&mut self, member: &str, epoch: i32, version: i16) -> Option<ResponseError> {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(self.cluster.topic_name())
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.cluster.group_id())
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        let answer = self.connection.call(&request, version..=version).await.unwrap();
        ResponseError::try_from_code(answer.topics[0].partitions[0].error_code)
    }

    async fn fetch(&mut self, member: Option<&str>, epoch: i32) -> Option<ResponseError> {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(self.cluster.topic_name())
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.cluster.group_id())
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let answer = self.connection.call(&request, 9..=9).await.unwrap();
        ResponseError::try_from_code(answer.groups[0].error_code)
    }

    async fn described(&mut self) -> DescribedGroup {
        described(&mut self.connection, self.cluster).await
    }
}

async fn described(coordinator: &mut Connection, cluster: &TestCluster) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![cluster.group_id()]);
    coordinator.call(&request, 1..=1).await.unwrap().groups.remove(0)
}

/// A cluster with the topic, of so many partitions, and a member that has them all.
macro_rules! member_of_all {
    ($partitions:expr => $cluster:ident, $member:ident, $all:ident) => {
        let Some($cluster) = cluster().await else { return };
        $cluster.create_topic($partitions, &[]).await;
        let (mut $member, mut $all) = Member::joined(&$cluster).await;
        // Kafka's coordinator may hear of the topic a moment later.
        while $all.len() < $partitions {
            $all = $member.beat(Some(&$all)).await.unwrap().1.unwrap_or($all);
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_another_s_once_its_holder_has_said_that_it_has_it_no_more() {
    member_of_all!(2 => cluster, one, all);
    let first = one.epoch;
    let (mut two, none) = Member::joined(&cluster).await;
    assert_eq!((none, two.epoch), (Numbers::new(), first + 1));
    assert_eq!(one.described().await.group_state.as_str(), "Reconciling");
    let (epoch, kept) = one.beat(None).await.unwrap();
    let kept = kept.unwrap();
    assert_eq!((epoch, kept.len()), (first, 1));
    assert_eq!(one.beat(Some(&all)).await, Ok((first, None)), "it has them still");
    assert_eq!(two.beat(None).await, Ok((first + 1, None)));
    assert_eq!(one.beat(Some(&kept)).await, Ok((first + 1, None)));
    let others: Numbers = all.difference(&kept).copied().collect();
    assert_eq!(two.beat(None).await, Ok((first + 1, Some(others.clone()))));
    let described = one.described().await;
    assert_eq!((described.group_state.as_str(), described.assignor_name.as_str()), ("Stable", "uniform"));
    assert_eq!((described.group_epoch, described.assignment_epoch), (first + 1, first + 1));
    for member in &described.members {
        let expected = if member.member_id.as_str() == one.id { &kept } else { &others };
        for assignment in [&member.assignment, &member.target_assignment] {
            let told: Numbers = assignment.topic_partitions[0].partitions.iter().copied().collect();
            assert_eq!(told, *expected);
        }
        assert_eq!((member.member_type, member.client_id.as_str()), (1, "another-client"));
    }

    assert_eq!(one.at(-1, None).await, Ok((-1, None)));
    assert_eq!(one.described().await.group_state.as_str(), "Assigning");
    assert_eq!(two.beat(None).await, Ok((first + 2, Some(all))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_epoch_is_fenced_unless_it_has_missed_an_answer() {
    member_of_all!(2 => cluster, one, all);
    let first = one.epoch;
    let (_two, _) = Member::joined(&cluster).await;
    let kept = one.beat(Some(&all)).await.unwrap().1.unwrap();
    assert_eq!(one.beat(Some(&kept)).await, Ok((first + 1, None)));
    assert_eq!(one.at(first, Some(&kept)).await, Ok((first + 1, None)), "the answer was lost");
    assert_eq!(one.at(first, None).await, Err(ResponseError::FencedMemberEpoch));
    assert_eq!(one.at(first, Some(&all)).await, Err(ResponseError::FencedMemberEpoch));
    assert_eq!(one.at(first + 2, Some(&kept)).await, Err(ResponseError::FencedMemberEpoch));
    let everything = one
        .request(first + 1, Some(&kept))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![cluster.topic_name()]));
    assert_eq!(one.send(everything).await, Ok((first + 1, Some(kept))), "it is told everything");
    let id = std::mem::replace(&mut one.id, "nobody".to_owned());
    assert_eq!(one.beat(None).await, Err(ResponseError::UnknownMemberId));
    assert_eq!(one.at(-1, None).await, Err(ResponseError::UnknownMemberId));
    one.id = id;
    assert_eq!(one.beat(None).await, Ok((first + 1, None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_s_name_is_taken_until_it_leaves() {
    let Some(cluster) = cluster().await else { return };
    cluster.create_topic(2, &[]).await;
    let mut one = Member::new(&cluster, Some("name")).await;
    let mut all = one.join().await.unwrap().1.unwrap();
    while all.len() < 2 {
        all = one.beat(Some(&all)).await.unwrap().1.unwrap_or(all);
    }
    let first = one.epoch;
    let mut again = Member::new(&cluster, Some("name")).await;
    assert_eq!(again.join().await, Err(ResponseError::UnreleasedInstanceId));
    assert_eq!(one.join().await, Err(ResponseError::UnreleasedInstanceId), "its own, too");
    assert_eq!(again.at(first, None).await, Err(ResponseError::FencedInstanceId));
    assert_eq!(again.at(-2, None).await, Err(ResponseError::FencedInstanceId));
    assert_eq!(one.at(-2, None).await, Ok((-2, None)));
    assert_eq!(one.at(first, None).await, Err(ResponseError::FencedMemberEpoch));
    let (mut two, none) = Member::joined(&cluster).await;
    assert_eq!(none, Numbers::new(), "its partitions wait for it");
    let (_, back) = again.join().await.unwrap();
    let back = back.unwrap();
    assert!(back.len() == 1 && back.is_subset(&all), "{back:?}");
    let others: Numbers = all.difference(&back).copied().collect();
    assert_eq!(two.beat(None).await.unwrap().1, Some(others));
    let id = std::mem::replace(&mut one.id, again.id.clone());
    assert_eq!(one.at(-1, None).await, Ok((-1, None)));
    one.id = id;
    assert_eq!(again.beat(None).await, Err(ResponseError::UnknownMemberId));
    assert_eq!(two.beat(None).await.unwrap().1, Some(all));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_a_member_s_of_the_current_epoch() {
    member_of_all!(2 => cluster, one, _all);
    let (id, epoch) = (one.id.clone(), one.epoch);
    assert_eq!(one.commit(&id, epoch, 9).await, None);
    assert_eq!(one.commit(&id, epoch - 1, 9).await, Some(ResponseError::StaleMemberEpoch));
    assert_eq!(one.commit(&id, epoch + 1, 9).await, Some(ResponseError::StaleMemberEpoch));
    assert_eq!(one.commit(&id, epoch, 8).await, Some(ResponseError::UnsupportedVersion));
    assert_eq!(one.commit("nobody", epoch, 9).await, Some(ResponseError::UnknownMemberId));
    assert_eq!(one.commit("", -1, 9).await, Some(ResponseError::UnknownMemberId));
    assert_eq!(one.fetch(None, -1).await, None);
    assert_eq!(one.fetch(Some(&id), epoch).await, None);
    assert_eq!(one.fetch(Some(&id), epoch - 1).await, Some(ResponseError::StaleMemberEpoch));
    assert_eq!(one.fetch(Some("nobody"), epoch).await, Some(ResponseError::UnknownMemberId));
    one.at(-1, None).await.unwrap();
    assert_eq!(one.described().await.group_state.as_str(), "Empty");
    assert_eq!(one.commit("", -1, 9).await, None, "it has no members");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_told_of_partitions_that_are_new_and_of_a_topic_that_is_gone() {
    member_of_all!(2 => cluster, one, _all);
    cluster.create_partitions(3).await;
    one.until_assigned(None, &Numbers::from([0, 1, 2])).await;
    cluster.make_topic_again(1).await;
    let none = Numbers::new();
    one.until_assigned(None, &none).await;
    one.topic = cluster.topic_id().await;
    one.until_assigned(Some(&none), &Numbers::from([0])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_heartbeat_is_refused() {
    let Some(cluster) = cluster().await else { return };
    cluster.create_topic(2, &[]).await;
    let mut one = Member::new(&cluster, None).await;
    let joining = one.joining();
    let mut refused = async |request: ConsumerGroupHeartbeatRequest| one.send(request).await.unwrap_err();
    let invalid = [
        joining.clone().with_group_id(Default::default()),
        joining.clone().with_member_id(text("")),
        joining.clone().with_instance_id(Some(text(""))),
        joining.clone().with_rebalance_timeout_ms(-1),
        joining.clone().with_topic_partitions(None),
        joining
            .clone()
            .with_topic_partitions(Some(vec![TopicPartitions::default().with_partitions(vec![0])])),
        joining.clone().with_subscribed_topic_names(None),
        joining.clone().with_member_epoch(-2),
        joining.clone().with_member_epoch(-3),
    ];
    for request in invalid {
        assert_eq!(refused(request.clone()).await, ResponseError::InvalidRequest, "{request:?}");
    }
    let unknown = joining.clone().with_server_assignor(Some(text("sticky")));
    assert_eq!(refused(unknown).await, ResponseError::UnsupportedAssignor);
    for epoch in [1, -1] {
        let unknown = joining.clone().with_member_epoch(epoch);
        assert_eq!(refused(unknown).await, ResponseError::GroupIdNotFound, "there is no group");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn range_assigns_where_members_ask_for_it() {
    let Some(cluster) = cluster().await else { return };
    cluster.create_topic(3, &[]).await;
    let mut members = [Member::new(&cluster, None).await, Member::new(&cluster, None).await];
    members.sort_by(|one, other| one.id.cmp(&other.id));
    let ranges = [Numbers::from([0, 1]), Numbers::from([2])];
    let mut owned = [Numbers::new(), Numbers::new()];
    for (member, owned) in members.iter_mut().zip(&mut owned) {
        let joining = member.joining().with_server_assignor(Some(text("range")));
        *owned = member.send(joining).await.unwrap().1.unwrap();
    }
    let sharing = async {
        while owned != ranges {
            for (member, owned) in members.iter_mut().zip(&mut owned) {
                let assigned = member.beat(Some(owned)).await.unwrap().1;
                *owned = assigned.unwrap_or_else(|| owned.clone());
            }
        }
    };
    timeout(PATIENCE, sharing).await.expect("each has its range");
    assert_eq!(members[0].described().await.assignor_name.as_str(), "range");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_to_a_topic_that_does_not_exist_is_for_when_it_does() {
    member_of_all!(2 => cluster, one, all);
    let (epoch, other) = (one.epoch, TopicName(text(&cluster.users())));
    let both = one.request(epoch, Some(&all)).with_rebalance_timeout_ms(60_000);
    let both = both.with_subscribed_topic_names(Some(vec![cluster.topic_name(), other]));
    assert_eq!(one.send(both).await, Ok((epoch + 1, Some(all))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_the_classic_protocol_that_has_members_of_another_kind_is_none_of_this_one() {
    let Some(cluster) = cluster().await else { return };
    cluster.create_topic(2, &[]).await;
    let mut one = Member::new(&cluster, None).await;
    let protocol = JoinGroupRequestProtocol::default().with_name(text("workers"));
    let mut joining = JoinGroupRequest::default()
        .with_group_id(cluster.group_id())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("connect"))
        .with_protocols(vec![protocol]);
    joining.member_id = one.connection.call(&joining, 5..=5).await.unwrap().member_id;
    assert_eq!(one.connection.call(&joining, 5..=5).await.unwrap().error_code, 0);
    assert_eq!(one.join().await, Err(ResponseError::GroupIdNotFound));
    assert_eq!(one.described().await.error_code, ResponseError::GroupIdNotFound.code());
}
