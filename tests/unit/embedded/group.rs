//! The coordinator of a group of the classic protocol, on a clock that the tests move.

use std::time::Duration;

use bytes::Bytes;
use highwater_kafka_broker::groups::{
    Admission, ClassicGroup, Committed, Group, Joined, Joining, MemberIdentity, Phase,
};
use kafka_protocol::ResponseError;
use tokio::time::advance;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const A_MOMENT: Duration = Duration::from_millis(1);

fn joining(member: &str) -> Joining {
    Joining {
        member: member.to_owned(),
        instance: None,
        client_id: "client".to_owned(),
        host: "/127.0.0.1".to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        needs_known_id: false,
        knows_skipping: true,
    }
}

fn knowing(protocols: &[&str]) -> Joining {
    let protocols = protocols.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
    Joining { protocols, ..joining("") }
}

fn named(instance: &str) -> Joining {
    Joining { instance: Some(instance.to_owned()), ..joining("") }
}

fn identity(member: &str, generation: i32) -> MemberIdentity<'_> {
    MemberIdentity { member, instance: None, generation }
}

fn waits(admission: Admission) -> String {
    match admission {
        Admission::Waits(id) => id,
        other => panic!("waits for the others, and is not {other:?}"),
    }
}

fn joined(group: &ClassicGroup, id: &str) -> Joined {
    group.joined(id, None).expect("the rebalance is over").unwrap()
}

/// A group of one, at work, and that one's id.
fn group_of_one(member: Joining) -> (ClassicGroup, String) {
    let mut group = ClassicGroup::default();
    let id = waits(group.join(member.clone()));
    let instance = member.instance.as_deref();
    let at = MemberIdentity { member: &id, instance, generation: group.generation() };
    group.sync(at, vec![(id.clone(), Bytes::from_static(b"all"))]).unwrap();
    (group, id)
}

/// A group of two at work: the leader and the follower.
fn group_of_two() -> (ClassicGroup, String, String) {
    let (mut group, leader) = group_of_one(joining(""));
    let follower = waits(group.join(joining("")));
    waits(group.join(joining(&leader)));
    let generation = group.generation();
    group.sync(identity(&leader, generation), Vec::new()).unwrap();
    group.sync(identity(&follower, generation), Vec::new()).unwrap();
    assert_eq!(group.phase(), Phase::Stable);
    (group, leader, follower)
}

#[tokio::test]
async fn one_member_joins_leads_and_gets_what_it_assigns_itself() {
    let mut group = ClassicGroup::default();
    let id = waits(group.join(joining("")));
    let told = joined(&group, &id);
    assert_eq!((told.generation, &told.leader, told.protocol.as_str()), (1, &id, "range"));
    assert_eq!(told.members, [(id.clone(), None, Bytes::from_static(b"topics"))]);
    group.sync(identity(&id, 1), vec![(id.clone(), Bytes::from_static(b"all"))]).unwrap();
    assert_eq!(group.synced(identity(&id, 1)), Some(Ok(Bytes::from_static(b"all"))));
}

#[tokio::test]
async fn a_new_member_must_come_back_with_the_id_it_is_given() {
    let mut group = ClassicGroup::default();
    let new = Joining { needs_known_id: true, ..joining("") };
    let Admission::NeedsId(id) = group.join(new.clone()) else { panic!("it was let in") };
    assert_eq!(group.phase(), Phase::Empty);
    assert_eq!(waits(group.join(Joining { member: id.clone(), ..new.clone() })), id);
    let invented = group.join(Joining { member: "invented".to_owned(), ..new });
    assert_eq!(invented, Admission::Refused(ResponseError::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_not_used_holds_a_rebalance_up_for_a_session_and_no_longer() {
    let (mut group, first) = group_of_one(joining(""));
    group.join(Joining { needs_known_id: true, ..joining("") });
    waits(group.join(joining(&first)));
    assert_eq!(group.joined(&first, None), None);
    advance(SESSION).await;
    assert!(group.sweep());
    assert_eq!(joined(&group, &first).generation, 2);
}

#[tokio::test]
async fn a_second_member_makes_the_first_join_again_and_only_the_leader_learns_who_is_there() {
    let (mut group, first) = group_of_one(joining(""));
    let second = waits(group.join(joining("")));
    assert_eq!(group.joined(&second, None), None, "the first has not joined");
    assert_eq!(group.heartbeat(identity(&first, 1)), Err(ResponseError::RebalanceInProgress));
    assert_eq!(group.sync(identity(&first, 1), Vec::new()), Err(ResponseError::RebalanceInProgress));
    waits(group.join(joining(&first)));
    assert_eq!(joined(&group, &first).members.len(), 2);
    assert_eq!(joined(&group, &second).members, []);
    assert_eq!(joined(&group, &second).leader, first);
    group.sync(identity(&second, 2), Vec::new()).unwrap();
    assert_eq!(group.synced(identity(&second, 2)), None, "the leader has not assigned");
    assert_eq!(group.heartbeat(identity(&second, 2)), Ok(()));
    group.sync(identity(&first, 2), vec![(second.clone(), Bytes::from_static(b"half"))]).unwrap();
    assert_eq!(group.synced(identity(&second, 2)), Some(Ok(Bytes::from_static(b"half"))));
}

#[tokio::test]
async fn a_follower_that_lost_its_answer_gets_it_again_without_a_rebalance_and_the_leader_starts_one() {
    let (mut group, leader, follower) = group_of_two();
    let Admission::Same(told) = group.join(joining(&follower)) else { panic!("it was a rebalance") };
    assert_eq!(told.generation, group.generation());
    waits(group.join(joining(&leader)));
    assert_eq!(group.phase(), Phase::PreparingRebalance);
}

#[tokio::test]
async fn old_generations_and_strangers_are_refused() {
    let (mut group, first) = group_of_one(joining(""));
    assert_eq!(group.heartbeat(identity(&first, 0)), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.heartbeat(identity(&first, 2)), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.heartbeat(identity("stranger", 1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.sync(identity(&first, 0), Vec::new()), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.leave("stranger", None), Err(ResponseError::UnknownMemberId));
}

#[tokio::test]
async fn a_commit_counts_from_a_member_of_this_generation_and_from_nobody_while_there_are_no_members() {
    let nobody = identity("", -1);
    let mut group = ClassicGroup::default();
    assert_eq!(group.may_commit(nobody), Ok(()));
    let id = waits(group.join(joining("")));
    assert_eq!(group.may_commit(identity(&id, 1)), Err(ResponseError::RebalanceInProgress));
    group.sync(identity(&id, 1), Vec::new()).unwrap();
    assert_eq!(group.may_commit(identity(&id, 1)), Ok(()));
    assert_eq!(group.may_commit(identity(&id, 0)), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.may_commit(identity("stranger", 1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.may_commit(nobody), Err(ResponseError::UnknownMemberId));
    group.join(joining(""));
    assert_eq!(group.may_commit(identity(&id, 1)), Ok(()), "what is drained in a rebalance may be committed");
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_gone_when_its_session_is_over_and_a_heard_one_is_not() {
    let (mut group, leader, follower) = group_of_two();
    advance(SESSION - A_MOMENT).await;
    assert!(!group.sweep());
    group.heartbeat(identity(&leader, group.generation())).unwrap();
    advance(A_MOMENT).await;
    assert!(group.sweep());
    assert!(group.members().contains_key(&leader) && !group.members().contains_key(&follower));
    assert_eq!(
        group.heartbeat(identity(&leader, group.generation())),
        Err(ResponseError::RebalanceInProgress)
    );
    assert_eq!(group.heartbeat(identity(&follower, group.generation())), Err(ResponseError::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_goes_on_without_members_that_do_not_join_in_time() {
    let (mut group, leader, follower) = group_of_two();
    waits(group.join(joining(&leader)));
    for _ in 0..59 {
        advance(Duration::from_secs(1)).await;
        let beats = group.heartbeat(identity(&follower, group.generation()));
        assert_eq!(beats, Err(ResponseError::RebalanceInProgress));
        group.sweep();
        assert_eq!(group.joined(&leader, None), None);
    }
    advance(Duration::from_secs(1)).await;
    assert!(group.sweep());
    assert_eq!(joined(&group, &leader).members.len(), 1);
    assert_eq!(group.joined(&follower, None), Some(Err(ResponseError::UnknownMemberId)));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_beats_but_never_asks_for_its_assignment_is_gone_after_the_rebalance_time_out() {
    let mut group = ClassicGroup::default();
    let id = waits(group.join(joining("")));
    for _ in 0..60 {
        assert!(!group.sweep());
        group.heartbeat(identity(&id, 1)).unwrap();
        advance(Duration::from_secs(1)).await;
    }
    assert!(group.sweep());
    assert_eq!(group.phase(), Phase::Empty);
}

#[tokio::test]
async fn leaving_ends_the_rebalance_that_waited_for_that_member_and_the_last_one_empties_the_group() {
    let (mut group, leader, follower) = group_of_two();
    waits(group.join(joining(&leader)));
    group.leave(&follower, None).unwrap();
    assert_eq!(joined(&group, &leader).members.len(), 1);
    group.leave(&leader, None).unwrap();
    assert_eq!((group.phase(), group.members().len()), (Phase::Empty, 0));
    assert_eq!(group.joined(&leader, None), Some(Err(ResponseError::UnknownMemberId)));
}

#[tokio::test]
async fn the_protocol_is_one_that_all_know_and_most_like_best() {
    let mut group = ClassicGroup::default();
    let first = waits(group.join(knowing(&["sticky", "range", "roundrobin"])));
    group.join(knowing(&["roundrobin", "range"]));
    group.join(knowing(&["roundrobin", "range"]));
    let again = Joining { member: first.clone(), ..knowing(&["sticky", "range", "roundrobin"]) };
    waits(group.join(again));
    assert_eq!(joined(&group, &first).protocol, "roundrobin");
    let stranger = group.join(knowing(&["sticky"]));
    assert_eq!(stranger, Admission::Refused(ResponseError::InconsistentGroupProtocol));
    let connect = Joining { protocol_type: "connect".to_owned(), ..joining("") };
    assert_eq!(group.join(connect), Admission::Refused(ResponseError::InconsistentGroupProtocol));
}

#[tokio::test]
async fn a_static_member_started_again_takes_its_place_without_a_rebalance_and_its_old_self_is_fenced() {
    let (mut group, old) = group_of_one(named("one"));
    let Admission::Same(told) = group.join(named("one")) else { panic!("it was a rebalance") };
    assert_eq!((told.generation, told.skip_assignment), (1, true));
    assert_ne!(told.member, old);
    let as_one = |member| MemberIdentity { member, instance: Some("one"), generation: 1 };
    assert_eq!(group.synced(as_one(&told.member)), Some(Ok(Bytes::from_static(b"all"))));
    assert_eq!(group.heartbeat(as_one(&told.member)), Ok(()));
    assert_eq!(group.heartbeat(as_one(&old)), Err(ResponseError::FencedInstanceId));
    assert_eq!(group.may_commit(as_one(&old)), Err(ResponseError::FencedInstanceId));
    assert_eq!(group.leave("", Some("one")), Ok(()));
    assert_eq!(group.phase(), Phase::Empty);
}

#[test]
fn offsets_of_a_transaction_count_when_it_commits_and_not_before() {
    let mut group = Group::default();
    let at = |offset| Committed { offset, leader_epoch: 0, metadata: String::new() };
    group.offsets.commit("topic", 0, at(1));
    group.offsets.commit_later(7, "topic", 0, at(5));
    assert!(group.offsets.is_unstable("topic", 0) && !group.offsets.is_unstable("topic", 1));
    assert_eq!(group.offsets.committed("topic", 0), Some(&at(1)));
    group.offsets.end_transaction(7, true);
    assert_eq!(group.offsets.committed("topic", 0), Some(&at(5)));
    group.offsets.commit_later(7, "topic", 0, at(9));
    group.offsets.end_transaction(7, false);
    assert_eq!(group.offsets.committed("topic", 0), Some(&at(5)));
}
