//! A topic that is deleted and created again.

use std::collections::BTreeSet;

use highwater_kafka::Publisher;
use highwater_kafka_broker::Options;
use kafka_protocol::messages::ApiKey;
use serde_json::json;
use uuid::Uuid;

use super::{message, metrics::scrape};
use crate::support::{TestApp, TestCluster, eventually};

/// Enough events that each partition has some.
const USERS: usize = 12;

/// Posts an event of each user, as soon as that is taken; their ids.
async fn post_all(app: &TestApp) -> BTreeSet<String> {
    let mut posted = BTreeSet::new();
    for user in 0..USERS {
        let id = Uuid::new_v4().to_string();
        let event = json!({"eventId": id, "userId": format!("user-{user}"), "eventType": "LOGIN"});
        eventually("the event is acknowledged", async || {
            (app.post("/events/generate", &event).await.status() == 201).then_some(())
        })
        .await;
        posted.insert(id);
    }
    posted
}

async fn lists(app: &TestApp, expected: &BTreeSet<String>) {
    eventually("just the events of the new topic are listed", async || {
        (app.processed().await.into_iter().collect::<BTreeSet<_>>() == *expected).then_some(())
    })
    .await;
}

async fn told_once(app: &TestApp, topic: &str) {
    let health = app.read("/health").await;
    let warnings = health["kafka"]["warnings"].as_array().unwrap();
    let told = warnings.iter().filter(|warning| warning.as_str().unwrap().contains("deleted and made again"));
    assert_eq!(told.count(), 1, "{health}");
    let counted = format!("highwater_consumer_topic_recreations_total{{topic=\"{topic}\"}}");
    assert_eq!(scrape(app).await[&counted], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_recreated_topic_are_listed_from_its_beginning() {
    for protocol in ["classic", "auto"] {
        is_listed_from_its_beginning(&TestCluster::start().await, protocol).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_is_noticed_where_brokers_have_topic_ids_and_fetch_by_name() {
    let options = Options { lacks: vec![(ApiKey::Fetch, 13)], ..Options::default() };
    is_listed_from_its_beginning(&TestCluster::embedded_with(options).await, "classic").await;
}

async fn is_listed_from_its_beginning(cluster: &TestCluster, protocol: &str) {
    let settings = [("GROUP_PROTOCOL", protocol)];
    let app = TestApp::start_with(cluster, &settings).await;
    app.until_ready().await;
    post_all(&app).await;
    cluster.until_committed_to_the_end().await;
    cluster.make_topic_again(3).await;
    // As many as there were: every position in the old topic is one in the new.
    let posted = post_all(&app).await;
    lists(&app, &posted).await;
    told_once(&app, &cluster.topic).await;
    cluster.until_committed_to_the_end().await;
    app.stop().await;

    let app = TestApp::start_with(cluster, &settings).await;
    app.until_ready().await;
    lists(&app, &posted).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_of_a_deleted_topic_of_the_same_name_does_not_count() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    post_all(&app).await;
    cluster.until_committed_to_the_end().await;
    app.stop().await;
    let mut noted = Vec::new();
    for partition in 0..3 {
        noted.push(cluster.noted_of(partition).await);
    }
    cluster.make_topic_again(3).await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let mut written = BTreeSet::new();
    for user in 0..USERS {
        let (user, id) = (format!("user-{user}"), Uuid::new_v4().to_string());
        let value = json!({"eventId": id, "userId": user, "eventType": "LOGIN"}).to_string();
        eventually("the record is written", async || {
            producer.publish(message(&user, value.clone())).await.ok()
        })
        .await;
        written.insert(id);
    }
    // As where the coordinator was away when the topic was deleted: Kafka forgets its offsets then, or would have.
    for (partition, noted) in (0..).zip(&noted) {
        assert!(noted.0 > 0 && noted.1.contains("topic:"), "{noted:?}");
        cluster.commit_noted(partition, noted).await;
    }

    let app = TestApp::ready(&cluster).await;
    lists(&app, &written).await;
    told_once(&app, &cluster.topic).await;
    cluster.until_committed_to_the_end().await;
    app.stop().await;
}
