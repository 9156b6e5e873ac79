//! The coordinator of a group of the consumer protocol (KIP-848), on a clock that the tests move. Its answers to members are
//! compared with Kafka's where both are asked: `tests/integration/messaging/coordinator.rs`.

use std::{collections::BTreeMap, time::Duration};

use highwater_kafka_broker::groups::{
    CommitRequest, Committed, ConsumerGroup, Group, MemberIdentity,
    consumer::{
        Heartbeat, HeartbeatReply, JOINS, LEAVES, LEAVES_FOR_RESTART, Partitions, ServerAssignor, Sessions,
        TopicLayout,
    },
};
use kafka_protocol::ResponseError;
use tokio::time::advance;
use uuid::Uuid;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(60);
const SESSIONS: Sessions = Sessions { timeout: SESSION, heartbeat_interval: Duration::from_secs(5) };

/// A group, and the topics that there are.
struct World {
    group: ConsumerGroup,
    topics: BTreeMap<String, TopicLayout>,
}

impl World {
    fn new(topics: &[(&str, i32)]) -> Self {
        let mut world = Self { group: ConsumerGroup::new(SESSIONS), topics: BTreeMap::new() };
        topics.iter().for_each(|(name, partitions)| world.make(name, *partitions));
        world
    }

    /// Makes a topic, also one that there was before.
    fn make(&mut self, name: &str, partitions: i32) {
        let id = Uuid::from_u128(self.topics.values().map(|topic| topic.id.as_u128()).max().unwrap_or(0) + 1);
        self.topics.insert(name.to_owned(), TopicLayout { id, partitions });
    }

    fn partitions(&self, topic: &str, numbers: &[i32]) -> Partitions {
        numbers.iter().map(|number| (self.topics[topic].id, *number)).collect()
    }

    fn beat(&mut self, heartbeat: &Heartbeat) -> Result<HeartbeatReply, ResponseError> {
        self.group.heartbeat(heartbeat, |name| self.topics.get(name).copied())
    }

    /// A new member of the topic. Returns its epoch and its partitions.
    fn join(&mut self, member: &str) -> (i32, Partitions) {
        let told = self.beat(&joining(member, &["topic"])).unwrap();
        (told.epoch, told.assignment.unwrap())
    }

    /// A member without news.
    fn at(&mut self, member: &str, epoch: i32) -> Result<HeartbeatReply, ResponseError> {
        self.beat(&beat(member, epoch))
    }

    /// A member that owns what it is assigned, until it is told nothing new.
    fn settle(&mut self, member: &str) -> Partitions {
        loop {
            let known = &self.group.members()[member];
            let (epoch, owned) = (known.epoch(), known.assigned().clone());
            let told = self.beat(&Heartbeat { owned: Some(owned.clone()), ..beat(member, epoch) }).unwrap();
            if told.assignment.is_none_or(|assigned| assigned == owned) && told.epoch == epoch {
                return owned;
            }
        }
    }
}

fn beat(member: &str, epoch: i32) -> Heartbeat {
    Heartbeat {
        member: member.to_owned(),
        epoch,
        instance: None,
        client_id: "client".to_owned(),
        host: "/127.0.0.1".to_owned(),
        rebalance_timeout: None,
        subscription: None,
        assignor: None,
        owned: None,
    }
}

fn joining(member: &str, topics: &[&str]) -> Heartbeat {
    Heartbeat {
        rebalance_timeout: Some(REBALANCE),
        subscription: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        owned: Some(Partitions::new()),
        ..beat(member, JOINS)
    }
}

#[tokio::test]
async fn a_partition_has_a_new_holder_when_the_old_one_says_that_it_has_it_no_more() {
    let mut world = World::new(&[("topic", 2)]);
    assert_eq!(world.join("one"), (1, world.partitions("topic", &[0, 1])));
    assert_eq!(world.group.state(), "Stable");
    assert_eq!(world.join("two"), (2, Partitions::new()));
    assert_eq!(world.group.state(), "Reconciling");
    let told = world.at("one", 1).unwrap();
    let kept = told.assignment.unwrap();
    assert_eq!((told.epoch, kept.len()), (1, 1));
    assert_eq!(
        world.at("one", 1).unwrap(),
        HeartbeatReply { epoch: 1, assignment: None },
        "it has said nothing"
    );
    assert_eq!(world.at("two", 2).unwrap().assignment, None);
    let released = Heartbeat { owned: Some(kept.clone()), ..beat("one", 1) };
    assert_eq!(world.beat(&released).unwrap(), HeartbeatReply { epoch: 2, assignment: None });
    let told = world.at("two", 2).unwrap();
    let all = world.partitions("topic", &[0, 1]);
    assert_eq!((told.epoch, told.assignment), (2, Some(all.difference(&kept).copied().collect())));
    assert_eq!(world.group.state(), "Stable");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_revoke_in_time_is_out_however_often_it_is_heard() {
    let mut world = World::new(&[("topic", 2)]);
    world.join("one");
    world.join("two");
    world.at("one", 1).unwrap();
    for _ in 0..12 {
        assert!(!world.group.sweep());
        advance(REBALANCE / 12).await;
        world.at("one", 1).unwrap();
        world.at("two", 2).unwrap();
    }
    assert!(world.group.sweep());
    assert_eq!(world.at("one", 1), Err(ResponseError::UnknownMemberId));
    assert_eq!(world.at("two", 2).unwrap().assignment, Some(world.partitions("topic", &[0, 1])));
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_out_after_its_session_and_the_next_heartbeat_of_another_gets_what_it_had() {
    let mut world = World::new(&[("topic", 2)]);
    world.join("one");
    world.join("two");
    world.settle("one");
    world.settle("two");
    for _ in 0..9 {
        assert!(!world.group.sweep());
        advance(SESSION / 9).await;
        world.at("two", 2).unwrap();
    }
    assert!(world.group.sweep());
    let told = world.at("two", 2).unwrap();
    assert_eq!((told.epoch, told.assignment), (3, Some(world.partitions("topic", &[0, 1]))));
}

#[tokio::test]
async fn who_leaves_gives_up_what_it_has_at_once() {
    let mut world = World::new(&[("topic", 2)]);
    world.join("one");
    world.join("two");
    assert_eq!(world.at("one", LEAVES).unwrap(), HeartbeatReply { epoch: LEAVES, assignment: None });
    assert_eq!(world.group.state(), "Assigning");
    assert_eq!(world.at("two", 2).unwrap().assignment, Some(world.partitions("topic", &[0, 1])));
    assert_eq!(world.at("one", LEAVES), Err(ResponseError::UnknownMemberId));
    world.at("two", LEAVES).unwrap();
    assert_eq!(world.group.state(), "Empty");
}

#[tokio::test]
async fn an_epoch_before_the_last_answer_counts_for_a_member_that_owns_no_more_than_it_has() {
    let mut world = World::new(&[("topic", 1)]);
    world.join("one");
    world.make("other", 1);
    let both = Heartbeat { owned: Some(Partitions::new()), ..joining("one", &["topic", "other"]) };
    let told = world.beat(&Heartbeat { epoch: 1, ..both.clone() }).unwrap();
    assert_eq!(told.epoch, 2);
    let again = world.beat(&Heartbeat { epoch: 1, ..both }).unwrap();
    assert_eq!(again, told, "the answer was lost");
    assert_eq!(world.at("one", 1), Err(ResponseError::FencedMemberEpoch), "it does not say what it owns");
    let more = Heartbeat { owned: Some(world.partitions("topic", &[0, 7])), ..beat("one", 1) };
    assert_eq!(world.beat(&more), Err(ResponseError::FencedMemberEpoch));
    assert_eq!(world.at("one", 3), Err(ResponseError::FencedMemberEpoch));
    assert_eq!(world.at("nobody", 2), Err(ResponseError::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_has_its_partitions_after_a_restart_within_its_session() {
    let mut world = World::new(&[("topic", 2)]);
    let named = |member: &str, name: &str| Heartbeat {
        instance: Some(name.to_owned()),
        ..joining(member, &["topic"])
    };
    world.beat(&named("one", "a")).unwrap();
    world.join("two");
    let stopped = world.settle("one");
    let other = world.settle("two");
    let epoch = world.group.epoch();
    assert_eq!(world.beat(&named("new", "a")), Err(ResponseError::UnreleasedInstanceId));
    let leaving = Heartbeat { epoch: LEAVES_FOR_RESTART, ..named("one", "a") };
    assert_eq!(world.beat(&leaving).unwrap().epoch, LEAVES_FOR_RESTART);
    assert_eq!(world.settle("two"), other, "nobody gets them");
    let told = world.beat(&named("new", "a")).unwrap();
    assert_eq!((told.epoch, told.assignment), (epoch, Some(stopped)));
    assert_eq!(world.beat(&Heartbeat { epoch, ..named("one", "a") }), Err(ResponseError::FencedInstanceId));
    assert_eq!(world.at("one", epoch), Err(ResponseError::UnknownMemberId));

    world.beat(&Heartbeat { member: "new".to_owned(), ..leaving }).unwrap();
    advance(SESSION / 2).await;
    world.settle("two");
    advance(SESSION / 2).await;
    assert!(world.group.sweep());
    assert_eq!(world.settle("two").len(), 2, "it has not come back in time");
}

#[tokio::test]
async fn new_partitions_are_assigned_and_those_of_a_topic_that_is_made_again_replace_the_old_ones() {
    let mut world = World::new(&[("topic", 1)]);
    world.join("one");
    world.topics.get_mut("topic").unwrap().partitions = 3;
    let told = world.at("one", 1).unwrap();
    assert_eq!((told.epoch, told.assignment), (2, Some(world.partitions("topic", &[0, 1, 2]))));
    let old = world.partitions("topic", &[0, 1, 2]);
    world.make("topic", 2);
    assert_eq!(world.at("one", 2).unwrap().assignment, Some(Partitions::new()), "it revokes the old ones");
    let released = Heartbeat { owned: Some(Partitions::new()), ..beat("one", 2) };
    assert_eq!(world.beat(&released).unwrap().assignment, Some(world.partitions("topic", &[0, 1])));
    world.topics.clear();
    assert_eq!(world.settle("one"), Partitions::new());
    assert!(old.is_disjoint(world.group.members()["one"].target()));
}

#[tokio::test]
async fn uniform_gives_all_alike_and_moves_what_it_must() {
    let mut world = World::new(&[("topic", 7), ("other", 2)]);
    let both = |member: &str| joining(member, &["topic", "other"]);
    world.beat(&both("a")).unwrap();
    world.beat(&both("b")).unwrap();
    let before = (world.settle("a"), { world.settle("b") });
    assert_eq!(before.0.len() + before.1.len(), 9);
    world.beat(&both("c")).unwrap();
    let (a, b, c) = (world.settle("a"), world.settle("b"), world.settle("c"));
    assert_eq!([a.len(), b.len(), c.len()], [3, 3, 3]);
    assert!(a.is_subset(&before.0) && b.is_subset(&before.1));
    // Who reads one topic alone gets of that one.
    world.beat(&joining("d", &["other"])).unwrap();
    for member in ["a", "b", "c"] {
        world.settle(member);
    }
    assert!(world.settle("d").is_subset(&world.partitions("other", &[0, 1])));
    assert!(!world.settle("d").is_empty());
}

#[tokio::test]
async fn range_gives_the_same_numbers_of_each_topic_if_most_members_want_it() {
    let mut world = World::new(&[("topic", 3), ("other", 3)]);
    let ranged = |member: &str| Heartbeat {
        assignor: Some(ServerAssignor::Range),
        ..joining(member, &["topic", "other"])
    };
    world.beat(&ranged("a")).unwrap();
    world.beat(&ranged("b")).unwrap();
    world.settle("a");
    let expected = &world.partitions("topic", &[2]) | &world.partitions("other", &[2]);
    assert_eq!(world.settle("b"), expected);
    assert_eq!(world.group.assignor(), ServerAssignor::Range);
}

#[tokio::test]
async fn members_commit_by_their_epoch_and_nobody_else_while_there_are_any() {
    let mut world = World::new(&[("topic", 1)]);
    let at = |member, generation| MemberIdentity { member, instance: None, generation };
    let plain = CommitRequest::Plain(9);
    assert_eq!(world.group.may_commit(at("", -1), plain), Ok(()));
    world.join("one");
    let committing = |identity, by| world.group.may_commit(identity, by);
    assert_eq!(committing(at("one", 1), plain), Ok(()));
    assert_eq!(committing(at("one", 1), CommitRequest::Transactional), Ok(()));
    assert_eq!(committing(at("one", 0), plain), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(committing(at("one", 2), CommitRequest::Transactional), Err(ResponseError::IllegalGeneration));
    assert_eq!(committing(at("one", 1), CommitRequest::Plain(8)), Err(ResponseError::UnsupportedVersion));
    assert_eq!(committing(at("", -1), plain), Err(ResponseError::UnknownMemberId));
    assert_eq!(world.group.may_fetch("one", 1), Ok(()));
    assert_eq!(world.group.may_fetch("one", 0), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(world.group.may_fetch("two", 1), Err(ResponseError::UnknownMemberId));
}

#[tokio::test]
async fn a_group_without_members_changes_its_protocol_and_keeps_its_offsets() {
    let mut group = Group::default();
    let committed = Committed { offset: 3, leader_epoch: 0, metadata: String::new() };
    group.offsets.commit("topic", 0, committed.clone());
    let members = group.join_consumer(|| ConsumerGroup::new(SESSIONS)).unwrap();
    members.heartbeat(&joining("one", &["topic"]), |_| None).unwrap();
    assert_eq!(group.join_classic().err(), Some(ResponseError::InconsistentGroupProtocol));
    let members = group.consumer_mut().unwrap();
    members.heartbeat(&beat("one", LEAVES), |_| None).unwrap();
    assert!(group.join_classic().is_ok() && group.consumer().is_none());
    assert_eq!(group.offsets.committed("topic", 0), Some(&committed));
}
