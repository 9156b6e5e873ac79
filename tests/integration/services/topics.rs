//! The topics of users and orders: the required settings, and foreign records in them.

use std::{borrow::Cow, time::Duration};

use chrono::Utc;
use highwater_kafka::{Context, Envelope, Event, Message, Publisher as _, Topic, TopicConfig};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};
use serde_json::{Value, json};
use uuid::Uuid;

use super::registered;
use crate::support::{Instance, TestCluster, TransactionalProducer};

/// The settings of the users' topic.
fn fit(cluster: &TestCluster) -> TopicConfig {
    TopicConfig::new(cluster.users()).with_partitions(3).with_retention(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_fewer_partitions_or_a_bound_in_time_is_refused() {
    for (config, reason) in [
        (|cluster| fit(cluster).with_partitions(2), "it has 2 partitions"),
        (
            |cluster: &TestCluster| fit(cluster).with_retention(Some(Duration::from_secs(3600))),
            "retention.ms is 3600000",
        ),
    ] as [(fn(&TestCluster) -> TopicConfig, &str); 2]
    {
        let cluster = TestCluster::start().await;
        cluster.client().topic_of(config(&cluster)).known_partitions().await;
        let refusal = Instance::users_with(&cluster, &[]).until_it_refuses().await;
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_read_just_now_are_asked_for_again() {
    let cluster = TestCluster::embedded().await;
    let bounded = fit(&cluster).with_retention(Some(Duration::from_secs(3600)));
    cluster.client().topic_of(bounded).known_partitions().await;
    cluster.broker().faults().times(
        ApiKey::DescribeConfigs,
        Fault::Refuse(ResponseError::UnknownServerError),
        5,
    );
    let refusal = Instance::users_with(&cluster, &[]).until_it_refuses().await;
    assert!(refusal.contains("retention.ms is 3600000"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_may_not_be_read_are_taken_to_be_right() {
    let cluster = TestCluster::embedded().await;
    cluster
        .broker()
        .faults()
        .always(ApiKey::DescribeConfigs, Fault::Refuse(ResponseError::TopicAuthorizationFailed));
    let users = Instance::users(&cluster).await;
    registered(&users, "ann@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_beyond_those_of_the_state_are_ignored() {
    let cluster = TestCluster::start().await;
    cluster.client().topic_of(fit(&cluster).with_partitions(7)).known_partitions().await;
    let users = Instance::users(&cluster).await;
    for number in 0..20 {
        registered(&users, &format!("user-{number}@example.org")).await;
    }
    let state = users.get("/health").await.ok(200)["state"][0].clone();
    assert_eq!(state["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(state["applied"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_counts_other_partitions_than_the_state_was_written_in_does_not_start() {
    let cluster = TestCluster::start().await;
    cluster.client().topic_of(fit(&cluster).with_partitions(6)).known_partitions().await;
    let counting = |partitions| Instance::users_with(&cluster, &[("STATE_PARTITIONS", partitions)]);
    let users = counting("3");
    users.until_ready().await;
    for number in 0..20 {
        registered(&users, &format!("user-{number}@example.org")).await;
    }
    users.stop().await;
    for (partitions, reason) in [
        ("6", "belongs in partition"),
        ("2", "partition 2 has records, and the table is set to 2 partitions"),
    ] {
        let refusal = counting(partitions).until_it_refuses().await;
        assert!(refusal.contains(reason), "{refusal}");
    }
    let users = counting("3");
    users.until("/users", |found| found["count"] == 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_repeated_and_foreign_records_count_for_nothing_in_every_instance() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let user = registered(&users, "ann@example.org").await;
    let client = cluster.client();
    let topic: Topic = client.topic_of(fit(&cluster));
    let producer = client.producer(topic);
    let key = "ann@example.org";
    let at = "2026-05-01T10:00:00.000Z";
    let values = [
        json!({"type": "UserCreated", "userId": user, "emailKey": key, "version": 1, "at": at, "email": key, "name": "twin"}),
        json!({"type": "UserDeleted", "userId": user, "emailKey": key, "version": 1, "at": at}),
        json!({"type": "UserDeleted", "userId": user, "emailKey": key, "version": 7, "at": at}),
        json!({"type": "UserPromoted", "userId": user, "emailKey": key, "version": 2, "at": at}),
        json!("no event"),
    ];
    for value in values {
        producer.publish(message(key, &value, Vec::new())).await.unwrap();
    }
    let other = Instance::users(&cluster).await;
    for instance in [&users, &other] {
        instance.until("/health", |health| health["state"][0]["rejected"] == 3).await;
        let found = instance.get("/users").await.ok(200);
        assert_eq!((&found["count"], &found["users"][0]["name"]), (&json!(1), &json!("Ann")));
    }
}

fn message(key: &str, value: &Value, headers: Vec<(String, Vec<u8>)>) -> Message {
    Message {
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.to_string().into_bytes()),
        headers,
        timestamp: Utc::now(),
        partition: None,
    }
}

/// An event of the type `UserDeleted`.
struct Deleted;

impl Event for Deleted {
    fn key(&self) -> Cow<'_, str> {
        "".into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        "UserDeleted".into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_program_ends_an_instance_that_would_pass_it_over() {
    let mut promoted = Envelope::new(&Deleted, "/users", &Context::default());
    let mut of_version_2 = promoted.clone();
    promoted.event_type = "UserPromoted".to_owned();
    of_version_2.schema_version = 2;
    for newer in [promoted, of_version_2] {
        let cluster = TestCluster::start().await;
        let users = Instance::users(&cluster).await;
        let client = cluster.client();
        let producer = client.producer(client.topic_of(fit(&cluster)));
        let key = "ann@example.org";
        let value =
            json!({"type": newer.event_type, "userId": Uuid::new_v4(), "emailKey": key, "version": 1});
        producer.publish(message(key, &value, newer.headers())).await.unwrap();
        // The one at work, and whoever begins.
        for instance in [users, Instance::users_with(&cluster, &[])] {
            let refusal = instance.until_it_refuses().await;
            assert!(refusal.contains("Upgrade this instance"), "{refusal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_somebody_left_open_keeps_nobody_from_what_is_known() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let user = registered(&users, "ann@example.org").await;
    let of_users = TestCluster {
        brokers: cluster.brokers.clone(),
        embedded: None,
        topic: cluster.users(),
        group: cluster.group.clone(),
    };
    let mut open = TransactionalProducer::start(&of_users, "foreign").await;
    for partition in 0..3 {
        open.send(partition, &["held back"]).await;
    }
    let other = Instance::users(&cluster).await;
    other.get(&format!("/users/{user}")).await.ok(200);
    open.abort().await;
    registered(&other, "bob@example.org").await;
}
