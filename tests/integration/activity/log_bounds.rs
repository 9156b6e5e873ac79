//! A log that is shorter than it was, longer than the store, or wider than before.

use highwater_kafka::Publisher;
use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use rskafka::{client::partition::Compression, record::Record};
use serde_json::json;
use uuid::Uuid;

use super::{message, metrics::scrape};
use crate::support::{TestApp, TestCluster, eventually, processed_lines};

#[tokio::test(flavor = "multi_thread")]
async fn reading_continues_after_records_that_retention_deleted() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let first = app.generate("user-1").await;
    cluster.until_committed_to_the_end().await;
    app.stop().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let mut written = Vec::new();
    for _ in 0..10 {
        let id = Uuid::new_v4().to_string();
        let value = json!({"eventId": id, "userId": "user-1", "eventType": "seen"}).to_string();
        producer.publish(message("user-1", value)).await.unwrap();
        written.push(id);
    }
    // The first, and five that were not processed.
    cluster.broker().delete_records_before(&cluster.topic, first.partition, 6);

    let app = TestApp::ready(&cluster).await;
    let last = app.generate("user-1").await.id;
    app.until_processed(&last).await;
    written.push(last);
    assert_eq!(app.processed().await, written[5..]);
    let figures = scrape(&app).await;
    let figure =
        |name: &str| figures[&format!("highwater_consumer_{name}_total{{topic=\"{}\"}}", cluster.topic)];
    assert_eq!(
        (figure("offset_resets"), figure("records_skipped"), figure("topic_recreations")),
        (1.0, 5.0, 0.0)
    );
    let health = app.read("/health").await;
    let warnings = health["kafka"]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains("up to 5 records")), "{health}");
    cluster.until_committed_to_the_end().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_truncated_below_the_committed_offset_is_read_from_the_reset_position_once() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for _ in 0..10 {
        posted.push(app.generate("user-1").await);
    }
    cluster.until_committed_to_the_end().await;
    app.stop().await;
    cluster.broker().truncate(&cluster.topic, posted[0].partition, 4);

    let app = TestApp::ready(&cluster).await;
    let last = app.generate("user-1").await;
    assert_eq!(last.offset, 4);
    app.until_processed(&last.id).await;
    let left: Vec<_> = posted[..4].iter().map(|posted| posted.id.clone()).chain([last.id]).collect();
    assert_eq!(app.processed().await, left);
    cluster.until_committed_to_the_end().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_truncated_under_a_running_service_is_read_on() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for _ in 0..10 {
        posted.push(app.generate("user-1").await);
    }
    cluster.until_committed_to_the_end().await;
    cluster.broker().truncate(&cluster.topic, posted[0].partition, 4);
    let last = app.generate("user-1").await;
    app.until_processed(&last.id).await;
    cluster.until_committed_to_the_end().await;
    app.until_ready().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_events_of_each_partition_are_kept_and_after_a_restart_they_are_the_same() {
    let cluster = TestCluster::start().await;
    let settings = [("STORE_MAX_EVENTS", "6")];
    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    let mut expected = Vec::new();
    for user in ["user-1", "foobar"] {
        let mut posted = Vec::new();
        for _ in 0..5 {
            posted.push(app.generate(user).await.id);
        }
        // Copies that fill the end of the log: to find two events, the restoring has to look further back.
        for _ in 0..9 {
            app.generate_from(&json!({"userId": user, "eventType": "LOGIN", "eventId": posted[4]})).await;
        }
        expected.extend_from_slice(&posted[3..]);
    }
    expected.sort();
    cluster.until_committed_to_the_end().await;
    let kept = async |app: &TestApp| {
        let mut kept = app.processed().await;
        kept.sort();
        kept
    };
    assert_eq!(kept(&app).await, expected);
    app.stop().await;

    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    assert_eq!(kept(&app).await, expected);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_is_read_from_its_beginning_although_others_begin_at_their_end() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let old = json!({"eventId": Uuid::new_v4(), "userId": "user-1", "eventType": "old"}).to_string();
    client.producer(client.topic()).publish(message("user-1", old)).await.unwrap();

    let settings = [("OFFSET_RESET", "latest"), ("METADATA_MAX_AGE", "2s")];
    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    cluster.create_partitions(4).await;
    let id = Uuid::new_v4().to_string();
    let value = json!({"eventId": id, "userId": "new", "eventType": "seen"}).to_string();
    let record = Record {
        key: None,
        value: Some(value.into_bytes()),
        headers: Default::default(),
        timestamp: chrono::Utc::now(),
    };
    cluster.log(3).await.produce(vec![record], Compression::NoCompression).await.unwrap();
    app.until_processed(&id).await;
    assert_eq!(app.processed().await, [id.as_str()], "what was before the first start is not read");
    assert_eq!(processed_lines::of(&id), 1);
    eventually("it works on all four", async || (app.partitions().await == [0, 1, 2, 3]).then_some(())).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_waits_for_a_log_that_cannot_be_read_yet_and_is_not_ready_before() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let posted = app.generate("user-1").await;
    cluster.until_committed_to_the_end().await;
    app.stop().await;

    let faults = cluster.broker().faults();
    let before = faults.count(ApiKey::Fetch);
    faults.always(ApiKey::Fetch, Fault::Drop);
    let app = TestApp::start(&cluster).await;
    eventually("restoring fails, and is tried again", async || {
        (faults.count(ApiKey::Fetch) > before + 2).then_some(())
    })
    .await;
    assert_eq!(app.get("/ready").await.status(), 503);
    assert_eq!(app.processed().await, [""; 0]);
    faults.clear();
    app.until_ready().await;
    assert_eq!(app.processed().await, [posted.id.as_str()]);
    assert_eq!(processed_lines::of(&posted.id), 1);
    app.stop().await;
}
