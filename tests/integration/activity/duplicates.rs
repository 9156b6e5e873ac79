//! An eventId is stored once, however often and wherever it was written.

use highwater_kafka::Publisher;
use serde_json::{Value, json};
use uuid::Uuid;

use super::message;
use crate::support::{TestApp, TestCluster, processed_lines};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_posted_again_is_stored_once() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let id = Uuid::new_v4().to_string();
    // The same id to one partition, to two others, and written in other letters.
    for (user, id) in
        [("user-1", &id), ("user-1", &id), ("foobar", &id), ("user-2", &id), ("user-1", &id.to_uppercase())]
    {
        let posted = app.generate_from(&json!({"userId": user, "eventType": "LOGIN", "eventId": id})).await;
        assert_eq!(posted.id, id.to_lowercase());
    }
    cluster.until_committed_to_the_end().await;
    assert_eq!(cluster.records(&cluster.topic).await.len(), 5);
    assert_eq!(app.processed().await, [id.as_str()]);
    assert_eq!(processed_lines::of(&id), 1);
    assert_eq!(app.read("/api/events").await["count"], 1);
    assert_eq!(app.read("/api/events/type/login").await["count"], 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_another_program_wrote_is_stored_once() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let id = Uuid::new_v4().to_string();
    let value = json!({"eventId": id, "userId": "user-1", "eventType": "seen", "unknown": [1]}).to_string();
    for key in ["user-1", "user-1", "foobar", "user-2"] {
        producer.publish(message(key, value.as_str())).await.unwrap();
    }
    let app = TestApp::ready(&cluster).await;
    cluster.until_committed_to_the_end().await;
    assert_eq!(app.processed().await, [id.as_str()]);
    assert_eq!(processed_lines::of(&id), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_copies_at_the_end_of_the_log_replace_no_event_when_it_is_restored() {
    let cluster = TestCluster::start().await;
    // Four a partition.
    let settings = [("STORE_MAX_EVENTS", "12")];
    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    let body = |id: &Value, said: &str| {
        let payload = json!({"said": said});
        json!({"userId": "user-1", "eventType": "LOGIN", "eventId": id, "payload": payload})
    };
    let ids: Vec<Value> = (0..4).map(|_| json!(Uuid::new_v4())).collect();
    for said in ["first", "forged", "forged once more"] {
        for id in &ids {
            app.generate_from(&body(id, said)).await;
        }
    }
    cluster.until_committed_to_the_end().await;
    let held = app.read("/events/processed").await;
    assert!(held.as_array().unwrap().iter().all(|event| event["payload"]["said"] == "first"), "{held}");
    app.stop().await;

    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    assert_eq!(app.read("/events/processed").await, held, "after a stop");
    // Its own commit says it, too.
    app.generate_from(&body(&ids[0], "forged after a restart")).await;
    cluster.until_committed_to_the_end().await;
    app.kill();

    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    assert_eq!(app.read("/events/processed").await, held, "after a kill");
    app.stop().await;
}
