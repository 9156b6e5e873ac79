//! A broker that answers late, wrongly or not at all.

use std::time::{Duration, Instant};

use highwater_kafka_broker::{Fault, Options};
use kafka_protocol::{
    ResponseError::{self, *},
    messages::ApiKey,
};
use serde_json::{Value, json};

use crate::support::{TestApp, TestCluster, eventually, processed_lines};

fn login() -> Value {
    json!({"userId": "user-1", "eventType": "LOGIN"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_acknowledged_and_is_in_the_log_and_stored_once() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    cluster.broker().faults().once(ApiKey::Produce, Fault::LoseAnswer);
    let posted = app.generate("user-1").await;
    cluster.until_committed_to_the_end().await;
    assert_eq!(cluster.records(&cluster.topic).await.len(), 1, "sent twice, and written once");
    assert_eq!(app.processed().await, [posted.id.as_str()]);
    assert_eq!(processed_lines::of(&posted.id), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_never_answered_is_tried_again_within_the_time_out() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("KAFKA_REQUEST_TIMEOUT", "300ms")]).await;
    app.until_ready().await;
    cluster.broker().faults().once(ApiKey::Produce, Fault::Stall);
    let began = Instant::now();
    let posted = app.generate("user-1").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    app.until_processed(&posted.id).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_not_answered_in_time_is_503_and_may_be_posted_again() {
    let cluster = TestCluster::embedded().await;
    let settings = [("PRODUCE_TIMEOUT", "300ms"), ("KAFKA_REQUEST_TIMEOUT", "500ms")];
    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    cluster.broker().faults().once(ApiKey::Produce, Fault::Stall);
    let answer = app.post("/events/generate", &login()).await;
    assert_eq!(answer.status(), 503);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["possiblyWritten"], true, "{problem}");
    let again = json!({"userId": "user-1", "eventType": "LOGIN", "eventId": problem["eventId"]});
    let posted = eventually("it is taken", async || {
        let answer = app.post("/events/generate", &again).await;
        (answer.status() == 201).then_some(problem["eventId"].as_str().unwrap().to_owned())
    })
    .await;
    app.until_processed(&posted).await;
    assert_eq!(app.processed().await, [posted]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_moved_is_looked_for() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let faults = cluster.broker().faults();
    let mut posted = Vec::new();
    for error in [NotLeaderOrFollower, LeaderNotAvailable, UnknownTopicOrPartition, NotEnoughReplicas] {
        faults.times(ApiKey::Produce, Fault::Refuse(error), 3);
        faults.times(ApiKey::Fetch, Fault::Refuse(error), 3);
        posted.push(app.generate("user-1").await.id);
    }
    cluster.until_committed_to_the_end().await;
    assert_eq!(app.processed().await, posted);
    assert_eq!(cluster.records(&cluster.topic).await.len(), posted.len(), "refused is not written");
    app.stop().await;
}

/// For tests in which a member is lost: the coordinator waits for it as long as its session lasts.
const IMPATIENT: [(&str, &str); 3] =
    [("KAFKA_SESSION_TIMEOUT", "1s"), ("KAFKA_REBALANCE_TIMEOUT", "2s"), ("KAFKA_REQUEST_TIMEOUT", "300ms")];

/// A cluster that takes such short sessions.
async fn impatient() -> TestCluster {
    let second = Duration::from_secs(1);
    TestCluster::embedded_with(Options { session_timeouts: second..=second, ..Options::default() }).await
}

/// Lets each of these calls fail, and after each sees an event through: stored once, committed, nothing lost.
async fn survives(faults: &[(ApiKey, Fault)]) {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("KAFKA_REQUEST_TIMEOUT", "500ms")]).await;
    app.until_ready().await;
    let broker = cluster.broker().faults();
    let mut posted = Vec::new();
    for &(api, fault) in faults {
        posted.push(app.generate("user-1").await.id);
        let before = broker.count(api);
        broker.once(api, fault);
        posted.push(app.generate("foobar").await.id);
        eventually("it went wrong, and was tried again", async || {
            (broker.count(api) > before + 1).then_some(())
        })
        .await;
        posted.push(app.generate("user-1").await.id);
        app.until_processed(&posted[posted.len() - 1]).await;
        cluster.until_committed_to_the_end().await;
    }
    app.until_ready().await;
    let mut processed = app.processed().await;
    processed.sort();
    posted.sort();
    assert_eq!(processed, posted);
    app.stop().await;
    assert!(cluster.broker().members(&cluster.group).is_empty(), "it left the group");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_heartbeat_costs_nothing() {
    let errors = [
        RebalanceInProgress,
        UnknownMemberId,
        IllegalGeneration,
        NotCoordinator,
        CoordinatorLoadInProgress,
        CoordinatorNotAvailable,
    ];
    survives(&errors.map(|error| (ApiKey::Heartbeat, Fault::Refuse(error)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_costs_nothing() {
    let errors = [
        RebalanceInProgress,
        UnknownMemberId,
        IllegalGeneration,
        NotCoordinator,
        CoordinatorLoadInProgress,
        UnknownTopicOrPartition,
    ];
    survives(&errors.map(|error| (ApiKey::OffsetCommit, Fault::Refuse(error)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_connection_breaks_or_that_hangs_costs_nothing() {
    let calls = [ApiKey::Heartbeat, ApiKey::OffsetCommit, ApiKey::Fetch, ApiKey::Metadata];
    let faults = [Fault::Drop, Fault::LoseAnswer, Fault::Stall];
    let each: Vec<_> = calls.iter().flat_map(|api| faults.map(|fault| (*api, fault))).collect();
    survives(&each).await;
}

/// Starts while the first calls of these kinds fail, each in every way there is and with these errors.
async fn starts_though(failing: &[(ApiKey, &[ResponseError])]) {
    let cluster = impatient().await;
    let faults = cluster.broker().faults();
    for (api, errors) in failing {
        errors.iter().for_each(|error| faults.once(*api, Fault::Refuse(*error)));
        for fault in [Fault::Drop, Fault::LoseAnswer, Fault::Stall] {
            faults.once(*api, fault);
        }
    }
    let app = TestApp::start_with(&cluster, &IMPATIENT).await;
    app.until_ready().await;
    let posted = app.generate("user-1").await;
    app.until_processed(&posted.id).await;
    cluster.until_committed_to_the_end().await;
    eventually("all of them were met", async || {
        failing.iter().all(|(api, errors)| faults.count(*api) > errors.len() + 3).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_although_the_first_metadata_requests_fail() {
    starts_though(&[
        (ApiKey::ApiVersions, &[]),
        (ApiKey::Metadata, &[]),
        (ApiKey::CreateTopics, &[NotController, TopicAlreadyExists]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_although_the_first_joins_fail() {
    starts_though(&[
        (ApiKey::FindCoordinator, &[CoordinatorNotAvailable]),
        (ApiKey::JoinGroup, &[CoordinatorLoadInProgress, NotCoordinator, UnknownMemberId]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_although_the_first_assignments_fail() {
    starts_though(&[(ApiKey::SyncGroup, &[NotCoordinator, RebalanceInProgress, IllegalGeneration])]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_although_the_first_offset_requests_fail() {
    starts_though(&[
        (ApiKey::OffsetFetch, &[CoordinatorLoadInProgress, NotCoordinator]),
        (ApiKey::ListOffsets, &[]),
        (ApiKey::Fetch, &[]),
    ])
    .await;
}
