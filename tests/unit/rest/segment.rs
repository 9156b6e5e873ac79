//! Segment's HTTP tracking API: which calls become events, and how a client is told what was not stored.

use highwater_kafka::{PublishError, Receipt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::service::Service;

const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

/// The only event that was sent to Kafka, and its key.
fn sent(service: &Service) -> Value {
    let [message] = <[_; 1]>::try_from(service.sent()).unwrap();
    serde_json::from_slice(&message.value.unwrap()).unwrap()
}

fn success(answer: &super::service::Answer) {
    assert_eq!(answer.ok(200), json!({"success": true}));
}

#[tokio::test]
async fn each_call_is_an_event_of_its_kind_with_the_call_as_payload() {
    let service = Service::new();
    for (path, event_type) in [
        ("track", "Item Bought"),
        ("t", "Item Bought"),
        ("identify", "identify"),
        ("i", "identify"),
        ("page", "page"),
        ("p", "page"),
        ("screen", "screen"),
        ("s", "screen"),
        ("group", "group"),
        ("g", "group"),
        ("alias", "alias"),
        ("a", "alias"),
    ] {
        let call = json!({
            "userId": "ann", "anonymousId": "other", "event": "Item Bought", "messageId": ID,
            "timestamp": "2026-05-01T12:00:00.000+02:00", "properties": {"price": 1.5}, "traits": {"a": "b"},
            "context": {"ip": "192.0.2.1"}, "unknown": [1],
        });
        success(&service.post(&format!("/v1/{path}"), call.to_string()).await);
        let expected = json!({
            "eventId": ID, "userId": "ann", "eventType": event_type, "timestamp": "2026-05-01T10:00:00.000Z",
            "payload": call,
        });
        assert_eq!(sent(&service), expected, "{path}");
    }
    for path in ["/v1/nothing", "/v1/Track", "/v1"] {
        service.post(path, "{}").await.problem(404);
    }
    service.get("/v1/track").await.problem(405);
}

#[tokio::test]
async fn a_message_id_that_is_no_uuid_stands_for_one_event_however_often_it_is_sent() {
    let service = Service::new();
    let mut ids = Vec::new();
    for message in ["node-next-1-a", "node-next-1-a", "node-next-2-b"] {
        let call = json!({"anonymousId": "visitor", "userId": null, "messageId": message});
        success(&service.post("/v1/page", call.to_string()).await);
        let event = sent(&service);
        assert_eq!(event["userId"], "visitor");
        ids.push(event["eventId"].as_str().unwrap().parse::<Uuid>().unwrap());
    }
    assert_eq!((ids[0], ids[0].get_version_num()), (ids[1], 5));
    assert_ne!(ids[0], ids[2]);
    // Browsers say of JSON that it is text.
    let request = warp::test::request().method("POST").path("/v1/t").header("content-type", "text/plain");
    let call = json!({"event": "x", "userId": "", "anonymousId": "v", "writeKey": "w", "originalTimestamp": "2026-05-01T10:00:00Z"});
    success(&service.send(request.body(call.to_string())).await);
    let event = sent(&service);
    assert_eq!((&event["userId"], &event["timestamp"]), (&json!("v"), &json!("2026-05-01T10:00:00.000Z")));
}

#[tokio::test]
async fn faults_of_a_call_are_a_true_error_with_the_members_that_clients_look_for() {
    let service = Service::new();
    for (path, body, faults) in [
        ("track", json!({"userId": "a"}), vec!["event"]),
        ("track", json!({"event": " ", "timestamp": "now"}), vec!["event", "userId", "timestamp"]),
        ("page", json!({"userId": 5}), vec!["userId"]),
        ("page", json!({"userId": "a", "messageId": ""}), vec!["messageId"]),
        ("batch", json!({"batch": {}}), vec!["batch"]),
        ("batch", json!({}), vec!["batch"]),
    ] {
        let answer = service.post(&format!("/v1/{path}"), body.to_string()).await;
        assert_eq!(answer.faults(), faults, "{body}");
        let problem = answer.problem(400);
        assert_eq!((&problem["code"], &problem["message"]), (&json!("400"), &problem["detail"]));
    }
    service.post("/v1/track", "[]").await.problem(400);
    service.post("/v1/track", "{").await.problem(400);
    let large = json!({"userId": "a", "event": "x", "properties": {"text": "x".repeat(33_000)}}).to_string();
    service.post("/v1/track", &large).await.problem(413);
    service
        .post("/v1/batch", format!("{{\"batch\":[{}]}}", [large.as_str(); 16].join(",")))
        .await
        .problem(413);
    // A body of 500 KB has room for a quarter of a million calls that are none.
    service.post("/v1/batch", format!("{{\"batch\":[{}1]}}", "1,".repeat(100))).await.problem(413);
    assert_eq!(service.sent().len(), 0);
}

#[tokio::test]
async fn calls_and_batches_have_the_sizes_that_segment_gives_them() {
    let service = Service::new();
    let call = |bytes: usize| {
        json!({"type": "track", "userId": "a", "event": "x", "properties": {"text": "x".repeat(bytes)}})
            .to_string()
    };
    success(&service.post("/v1/track", call(32_600)).await);
    let batch = format!("{{\"batch\":[{}]}}", vec![call(25_000); 16].join(","));
    success(&service.post("/v1/batch", batch).await);
    assert_eq!(service.sent().len(), 17);
}

#[tokio::test]
async fn a_batch_is_a_success_when_all_of_it_is_stored_and_a_bad_call_spoils_no_other() {
    let service = Service::new();
    let good = json!({"type": "track", "event": "x", "userId": "a"});
    let batch =
        json!({"batch": [good, {"type": "page", "anonymousId": "b"}], "sentAt": "2026-05-01T10:00:00Z"});
    for path in ["/v1/batch", "/v1/b", "/v1/import"] {
        success(&service.post(path, batch.to_string()).await);
        assert_eq!(service.sent().len(), 2);
    }
    success(&service.post("/v1/batch", r#"{"batch":[]}"#).await);

    let mixed = json!({"batch": [good, {"type": "track", "userId": "a"}, {"type": "no"}, 5, good]});
    let answer = service.post("/v1/batch", mixed.to_string()).await;
    assert_eq!(answer.faults(), ["batch[1]", "batch[2]", "batch[3]"]);
    assert_eq!(answer.problem(400)["detail"], "3 of 5 events are refused, and the others are stored");
    assert_eq!(service.sent().len(), 2);

    let reason = "away".to_owned();
    let service = Service::that_answers(Err(PublishError::Unavailable { reason, possibly_written: true }));
    let answer = service.post("/v1/batch", mixed.to_string()).await;
    answer.problem(503);
    assert!(answer.header("retry-after").is_some());
    let service = Service::that_answers(Ok(Receipt { partition: 0, offset: Some(0) }));
    success(&service.post("/v1/batch", batch.to_string()).await);
}
