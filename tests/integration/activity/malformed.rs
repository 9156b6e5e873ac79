//! Malformed records go to the dead letter topic unchanged, and block nothing.

use highwater_kafka::{Message, Publisher, dead_letter};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};
use serde_json::json;
use uuid::Uuid;

use super::message;
use crate::support::{TestApp, TestCluster, eventually, processed_lines};

/// Every kind of record that is no event; null is one.
fn malformed() -> Vec<Option<Vec<u8>>> {
    let id = Uuid::new_v4().to_string();
    let nested = |open: &str, close: &str| {
        let payload = open.repeat(200_000) + &close.repeat(200_000);
        format!(r#"{{"eventId":"{id}","userId":"u","eventType":"t","payload":{payload}}}"#)
    };
    let texts = [
        String::new(),
        "not JSON {".to_owned(),
        r#""a string""#.to_owned(),
        json!({"eventId": 5}).to_string(),
        json!([id, "u", "t"]).to_string(),
        json!({"eventId": id, "userId": " ", "eventType": "t"}).to_string(),
        json!({"eventId": id, "userId": "u", "eventType": ""}).to_string(),
        json!({"eventId": "no-uuid", "userId": "u", "eventType": "t"}).to_string(),
        json!({"eventId": id, "userId": "u", "eventType": "t", "timestamp": "yesterday"}).to_string(),
        json!({"eventId": id, "userId": "u", "eventType": "t", "payload": []}).to_string(),
        "[".repeat(200_000),
        nested("[", "]"),
        format!("\"{}\"", "x".repeat(900_000)),
    ];
    let mut values: Vec<_> = texts.into_iter().map(|text| Some(text.into_bytes())).collect();
    values.push(Some(b"{\"eventId\":\"\xff\xfe\"}".to_vec()));
    values.push(None);
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn each_malformed_record_is_set_aside_untouched_and_the_events_around_it_are_processed() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let app = TestApp::start(&cluster).await;
    let good = || {
        let id = Uuid::new_v4().to_string();
        let value = json!({"eventId": id, "userId": "user-1", "eventType": "seen"}).to_string();
        (id, message("user-1", value))
    };
    let (first, event) = good();
    let mut events = vec![first];
    producer.publish(event).await.unwrap();
    let mut bad = Vec::new();
    for value in malformed() {
        let headers = vec![("trace".to_owned(), b"\x00\xff".to_vec())];
        let record = Message { value, headers, ..message("user-1", "") };
        let at = producer.publish(record.clone()).await.unwrap();
        bad.push((at, record));
        let (id, event) = good();
        events.push(id);
        producer.publish(event).await.unwrap();
    }
    cluster.until_committed_to_the_end().await;
    assert_eq!(app.processed().await, events);

    let dead_letters = format!("{}.dlq", cluster.topic);
    let letters = cluster.records(&dead_letters).await;
    assert_eq!(letters.len(), bad.len());
    for (at, record) in &bad {
        let of_it = |header: &str, value: String| {
            let (header, value) = (header.to_owned(), value.into_bytes());
            letters.iter().filter(move |(_, letter)| letter.record.headers.get(&header) == Some(&value))
        };
        let mut found = of_it(dead_letter::OFFSET, at.offset.unwrap().to_string());
        let (_, letter) = found.next().unwrap();
        let header = |name: &str| String::from_utf8(letter.record.headers[name].clone()).unwrap();
        assert_eq!(letter.record.value, record.value, "the value of {at:?}");
        assert_eq!(letter.record.key, record.key);
        assert_eq!(letter.record.headers["trace"], b"\x00\xff");
        assert_eq!(header(dead_letter::TOPIC), cluster.topic);
        assert_eq!(header(dead_letter::PARTITION), at.partition.to_string());
        assert_eq!(header(dead_letter::GROUP), cluster.group);
        let timestamp: chrono::DateTime<chrono::Utc> = header(dead_letter::TIMESTAMP).parse().unwrap();
        assert_eq!(timestamp.timestamp_millis(), record.timestamp.timestamp_millis());
        assert!(!header(dead_letter::ERROR).is_empty());
        assert!(found.next().is_none(), "set aside once");
    }

    // Restored, the same records are neither events nor dead letters again.
    app.stop().await;
    let app = TestApp::ready(&cluster).await;
    let last = app.generate("user-1").await;
    app.until_processed(&last.id).await;
    assert_eq!(app.processed().await[..events.len()], events);
    assert!(events.iter().all(|id| processed_lines::of(id) == 1));
    assert_eq!(cluster.records(&dead_letters).await.len(), bad.len());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_offset_is_committed_before_its_dead_letter_is_written() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let at = producer.publish(message("user-1", "poison")).await.unwrap();
    let faults = cluster.broker().faults();
    let before = faults.count(ApiKey::Produce);
    faults.always(ApiKey::Produce, Fault::Refuse(ResponseError::NotEnoughReplicas));

    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "200ms")]).await;
    eventually("it is tried again, and the partition says why it stands still", async || {
        let stands =
            app.read("/health").await["group"]["partitions"][at.partition as usize]["error"].is_string();
        (stands && faults.count(ApiKey::Produce) > before + 3).then_some(())
    })
    .await;
    assert_eq!(cluster.committed().await.get(&at.partition), None);

    faults.clear();
    cluster.until_committed_to_the_end().await;
    assert_eq!(cluster.records(&format!("{}.dlq", cluster.topic)).await.len(), 1);
    app.stop().await;
}
