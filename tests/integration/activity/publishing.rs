//! Events in over REST, through Kafka, and out over REST.

use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};
use serde_json::json;

use crate::support::{TestApp, TestCluster, acknowledged, processed_lines};

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_event_is_in_the_answer_of_every_route() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let posted = app
        .generate_from(&json!({
            "userId": "a b/ü",
            "eventType": "PRODUCT_VIEW",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "payload": {"price": 1.5, "list": [1, null]},
        }))
        .await;
    let other = acknowledged(
        app.post("/api/events", &json!({"userId": "other", "eventType": "Own Kind", "metadata": {"a": 1}}))
            .await,
    )
    .await;
    app.until_processed(&posted.id).await;
    app.until_processed(&other.id).await;

    let expected = json!({
        "eventId": posted.id,
        "userId": "a b/ü",
        "eventType": "PRODUCT_VIEW",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "payload": {"price": 1.5, "list": [1, null]},
    });
    assert_eq!(app.read(&format!("/events/processed/{}", posted.id)).await, expected);
    let mut processed = app.processed().await;
    processed.sort();
    let mut both = vec![posted.id.clone(), other.id.clone()];
    both.sort();
    assert_eq!(processed, both);

    assert_eq!(app.read("/api/events").await["count"], 2);
    let of_user = app.read("/api/events/user/a%20b%2F%C3%BC").await;
    assert_eq!((&of_user["userId"], &of_user["count"]), (&json!("a b/ü"), &json!(1)));
    assert_eq!(of_user["events"][0]["eventId"], posted.id.as_str());
    assert_eq!(of_user["events"][0]["metadata"], expected["payload"]);
    let of_type = app.read("/api/events/type/own%20kind").await;
    assert_eq!(of_type["count"], 1);
    assert_eq!(of_type["events"][0]["eventId"], other.id.as_str());
    assert_eq!(app.read("/api/events/user/nobody").await["count"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_at_the_partition_and_offset_of_the_headers_with_its_user_as_key() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let posted = app.generate("user-1").await;
    let records = cluster.records(&cluster.topic).await;
    let (partition, record) = records.first().unwrap();
    assert_eq!((records.len(), *partition, record.offset), (1, posted.partition, posted.offset));
    assert_eq!(record.record.key.as_deref(), Some(&b"user-1"[..]));
    let value: serde_json::Value = serde_json::from_slice(record.record.value.as_deref().unwrap()).unwrap();
    assert_eq!(value["eventId"], posted.id.as_str());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_404_until_it_is_processed_and_a_read_that_waits_gets_it_then() {
    let cluster = TestCluster::embedded().await;
    cluster.broker().faults().always(ApiKey::Fetch, Fault::Refuse(ResponseError::NotLeaderOrFollower));
    let app = TestApp::start(&cluster).await;
    let posted = app.generate("user-1").await;
    let address = format!("/events/processed/{}", posted.id);
    assert_eq!(app.get(&address).await.status(), 404);
    assert_eq!(app.get(&format!("{address}?wait=50ms")).await.status(), 404);
    let waiting = address.clone() + "?wait=30s";
    let (answer, ()) = tokio::join!(app.get(&waiting), async { cluster.broker().faults().clear() });
    assert_eq!(answer.status(), 200);
    assert_eq!(app.get(&address).await.status(), 200);
    assert_eq!(processed_lines::of(&posted.id), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_user_are_processed_in_the_order_of_their_acknowledgement() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for _ in 0..50 {
        posted.push(app.generate("user-1").await.id);
    }
    app.until_processed(&posted[49]).await;
    assert_eq!(app.processed().await, posted);
    app.stop().await;
}
