//! A Kafka that refuses every record: the effects on health and the answers.

use highwater_kafka_broker::Fault;
use kafka_protocol::{
    ResponseError::{self, *},
    messages::ApiKey,
};
use serde_json::{Value, json};

use crate::support::{TestApp, TestCluster, eventually};

fn login(user: &str) -> Value {
    json!({"userId": user, "eventType": "LOGIN"})
}

/// The status of an instance whose broker refuses all records in this way.
async fn assert_told(error: ResponseError, advice: &str) {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "300ms")]).await;
    app.until_ready().await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::Produce, Fault::Refuse(error));
    assert_eq!(app.post("/events/generate", &login("ann")).await.status(), 503);

    let not_ready = app.get("/ready").await;
    assert_eq!(not_ready.status(), 503, "{error:?}");
    let problem: Value = not_ready.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains(advice), "{problem}");
    let health = app.read("/health").await;
    assert_eq!(health["kafka"]["connected"], true, "it answers: {health}");
    assert_eq!(health["kafka"]["refusals"][0]["topic"], json!(cluster.topic), "{health}");
    assert!(health["kafka"]["refusals"][0]["reason"].as_str().unwrap().contains(advice), "{health}");

    // An attempt is what finds out, and readiness does not wait for ever for one.
    app.until_ready().await;
    assert_eq!(app.post("/events/generate", &login("ann")).await.status(), 503);
    assert_eq!(app.get("/ready").await.status(), 503);
    faults.clear();
    // The next attempt waits out its backoff, which is longer than these requests wait.
    eventually("Kafka takes it again", async || {
        (app.post("/events/generate", &login("ann")).await.status() == 201).then_some(())
    })
    .await;
    assert_eq!(app.get("/ready").await.status(), 200);
    let health = app.read("/health").await;
    assert!(health["kafka"]["refusals"].is_null() && health["kafka"]["error"].is_null(), "{health}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_clock_is_off_is_not_ready_and_says_so() {
    assert_told(InvalidTimestamp, "this machine's clock is too far from the broker's").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_not_ready_while_too_few_replicas_are_in_sync() {
    assert_told(NotEnoughReplicas, "min.insync.replicas").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_the_right_to_write_is_not_ready() {
    assert_told(TopicAuthorizationFailed, "ACL WRITE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_record_does_not_make_an_instance_unready() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    cluster.broker().faults().once(ApiKey::Produce, Fault::Refuse(InvalidRecord));
    assert_eq!(app.post("/events/generate", &login("ann")).await.status(), 503);
    assert_eq!(app.get("/ready").await.status(), 200);
    assert!(app.read("/health").await["kafka"]["refusals"].is_null());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_ready_while_one_partition_takes_what_another_does_not() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "300ms")]).await;
    app.until_ready().await;
    // Users of all partitions.
    for user in 0..20 {
        app.generate(&format!("user-{user}")).await;
    }
    cluster.broker().faults().once(ApiKey::Produce, Fault::Refuse(NotEnoughReplicas));
    app.generate("user-1").await;
    let health = eventually("it is told as trouble of a partition, and passes", async || {
        let health = app.read("/health").await;
        health["kafka"]["error"].is_null().then_some(health)
    })
    .await;
    assert!(health["kafka"]["refusals"].is_null(), "{health}");
    assert_eq!(app.get("/ready").await.status(), 200);
    app.stop().await;
}
