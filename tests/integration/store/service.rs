//! The activity service on PostgreSQL: several instances, crashes between the two systems, and dead letters.

use chrono::Utc;
use highwater_kafka::Publisher;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stores::Stores;
use crate::{
    activity::message,
    support::{TestApp, TestCluster, TransactionalProducer, eventually, processed_lines, switch},
};

/// The settings of an instance on these stores.
pub(super) fn settings<'a>(url: &'a str, schema: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("STORE_URL", url), ("STORE_SCHEMA", schema)]
}

pub(super) async fn ready(cluster: &TestCluster, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start_with(cluster, settings).await;
    app.until_ready().await;
    app
}

pub(super) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// Each event is waited for at both instances before it is posted, so that one of them at least learns of it from the database.
#[tokio::test(flavor = "multi_thread")]
async fn each_instance_answers_for_all_partitions_and_sees_within_a_second_what_another_stores() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    let (one, two) = (ready(&cluster, &settings).await, ready(&cluster, &settings).await);
    let (mut ids, mut delays) = (Vec::new(), Vec::new());
    for number in 0..12 {
        let id = Uuid::new_v4();
        let waiting = async |app: &TestApp| {
            let answer = app.get(&format!("/events/processed/{id}?wait=10s")).await;
            let answered_at = Utc::now();
            assert_eq!(answer.status(), 200);
            answered_at
        };
        let posting = async {
            until_waiting(&one).await;
            until_waiting(&two).await;
            let user = format!("user-{number}");
            one.generate_from(&json!({"eventId": id, "userId": user, "eventType": "LOGIN"})).await;
        };
        let (at_one, at_two, ()) = tokio::join!(waiting(&one), waiting(&two), posting);
        // By the database's clock, which is this machine's.
        let stored = "SELECT (extract(epoch FROM stored_at) * 1000)::bigint FROM events WHERE id = $1";
        let stored_at: i64 = database.query_one(stored, &[&id]).await.unwrap().get(0);
        delays.push(at_one.max(at_two).timestamp_millis() - stored_at);
        ids.push(id.to_string());
    }
    delays.sort_unstable();
    // A machine that is busy may hold up one of them, and not half of them.
    assert!(delays[delays.len() / 2] < 1_000, "milliseconds from the commit to the later answer: {delays:?}");
    for app in [&one, &two] {
        assert_eq!(sorted(app.processed().await), sorted(ids.clone()));
        let coverage = app.get("/api/events?limit=1").await.headers()["highwater-partitions"].clone();
        assert_eq!(coverage, r#"held="0-2", restored="0-2", of=3, whole=?1"#);
    }
    one.stop().await;
    two.stop().await;
    stores.clean_up().await;
}

/// Waits until a request beside this one is under way.
async fn until_waiting(app: &TestApp) {
    eventually("a request waits", async || {
        let metrics = app.get("/metrics").await.text().await.unwrap();
        metrics.contains("highwater_http_connections{state=\"busy\"} 2\n").then_some(())
    })
    .await;
}

/// The group's offsets are lost, or another's: they are not the truth.
#[tokio::test(flavor = "multi_thread")]
async fn processing_goes_on_at_the_databases_position_whatever_the_group_has_committed() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (mut cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    let app = ready(&cluster, &settings).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(app.generate(&format!("user-{number}")).await.id);
        app.until_processed(&ids[number]).await;
    }
    // Between the database's commit and Kafka's, or not long after.
    app.kill();
    // A group that has committed nothing would begin at the end, or at the beginning.
    for reset in ["latest", "earliest"] {
        cluster.group.push_str(reset);
        let mut settings = settings.clone();
        settings.push(("OFFSET_RESET", reset));
        let app = ready(&cluster, &settings).await;
        ids.push(app.generate("user-1").await.id);
        app.until_processed(ids.last().unwrap()).await;
        assert_eq!(sorted(app.processed().await), sorted(ids.clone()));
        app.stop().await;
    }
    assert!(ids.iter().all(|id| processed_lines::of(id) <= 1), "no event is processed twice");

    // A backup from before the last events is restored: they are consumed again.
    let older = "DELETE FROM events WHERE position > 0; UPDATE partitions SET next = least(next, 1)";
    database.batch_execute(older).await.unwrap();
    let app = ready(&cluster, &settings).await;
    eventually("all events are there again", async || {
        (sorted(app.processed().await) == sorted(ids.clone())).then_some(())
    })
    .await;
    app.stop().await;
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_record_is_one_dead_letter_and_what_is_around_it_is_stored() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, _) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let good = json!({"eventId": Uuid::new_v4(), "userId": "user-1", "eventType": "seen"}).to_string();
    for value in ["no event", good.as_str(), "nor this"] {
        producer.publish(message("user-1", value)).await.unwrap();
    }
    for _ in 0..2 {
        let app = ready(&cluster, &settings).await;
        cluster.until_committed_to_the_end().await;
        assert_eq!(app.processed().await.len(), 1);
        app.stop().await;
        let letters = cluster.records(&format!("{}.dlq", cluster.topic)).await;
        assert_eq!(letters.len(), 2, "also after a restart");
    }
    stores.clean_up().await;
}

/// Neither a marker nor an aborted record is in a batch.
#[tokio::test(flavor = "multi_thread")]
async fn the_databases_position_is_not_behind_the_committed_offset_at_the_end_of_a_transaction() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    cluster.create_topic(1, &[]).await;
    let mut producer = TransactionalProducer::start(&cluster, "position").await;
    let app = ready(&cluster, &settings(&url, &config.schema)).await;
    for commits in [true, false] {
        let event = json!({"eventId": Uuid::new_v4(), "userId": "user-1", "eventType": "seen"});
        producer.send(0, &[event.to_string()]).await;
        if commits {
            producer.commit().await;
        } else {
            producer.abort().await;
        }
        cluster.until_committed_to_the_end().await;
        let position: i64 =
            database.query_one("SELECT next - base FROM partitions", &[]).await.unwrap().get(0);
        assert_eq!(position, cluster.ends().await[&0], "committed: {commits}");
    }
    app.stop().await;
    stores.clean_up().await;
}

/// The database is away; events are taken in, and stored when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_cannot_be_written_posts_go_on_and_health_says_why() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    let app = ready(&cluster, &settings).await;
    database.batch_execute("ALTER TABLE blocks RENAME TO away").await.unwrap();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(app.generate(&format!("user-{number}")).await.id);
    }
    eventually("the partitions and the store say why", async || {
        let health = app.read("/health").await;
        let says_why = |error: &Value| error.as_str().is_some_and(|error| error.contains("[42P01]"));
        let waits =
            health["group"]["partitions"].as_array()?.iter().any(|partition| says_why(&partition["error"]));
        (waits && says_why(&health["store"]["error"])).then_some(())
    })
    .await;
    assert_eq!(app.get("/ready").await.status(), 200, "Kafka is there, and keeps what is posted");
    assert!(app.get("/metrics").await.text().await.unwrap().contains("highwater_store_up 0"));
    database.batch_execute("ALTER TABLE away RENAME TO blocks").await.unwrap();
    for id in &ids {
        app.until_processed(id).await;
    }
    assert_eq!(sorted(app.processed().await), sorted(ids.clone()));
    eventually("all is well again", async || {
        let health = app.read("/health").await;
        health["store"]["error"].is_null().then_some(())
    })
    .await;
    app.stop().await;
    stores.clean_up().await;
}
