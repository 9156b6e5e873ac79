//! Events older than the retention leave, and their ids stay.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use highwater::store::{EventRecord, EventStore, PostgresConfig, PostgresStore};
use highwater_kafka::{Message, Publisher as _};
use serde_json::json;
use uuid::Uuid;

use super::stores::{
    Stores, admit, all, begin, listed, newest_first, of_type, of_user, on_both_stores, records,
};
use crate::{
    activity::message,
    support::{TestApp, TestCluster, eventually},
};

on_both_stores! {
    what_is_older_than_the_retention_leaves_alone_and_its_copies_are_known,
}

const TWO_HOURS: TimeDelta = TimeDelta::hours(2);

/// As if they had been written two hours ago.
fn old(records: Vec<EventRecord>) -> Vec<EventRecord> {
    let written_at = (Utc::now() - TWO_HOURS).timestamp_millis();
    records.into_iter().map(|record| EventRecord { written_at, ..record }).collect()
}

/// A minute is long enough for what is young to stay, and is looked at every six seconds.
async fn what_is_older_than_the_retention_leaves_alone_and_its_copies_are_known(stores: &Stores) {
    let store = stores.keeping(Duration::from_secs(60)).await;
    begin(&*store, 0).await;
    begin(&*store, 1).await;
    for start in (0..5_000).step_by(500) {
        admit(&*store, 0, old(records(start.into(), start..start + 500))).await;
    }
    admit(&*store, 1, old(records(0, 6_000..6_010))).await;
    if let Some((_, database)) = stores.database().await {
        age(&database).await;
    }
    let young = [5_000, 5_001, 5_002];
    assert_eq!(admit(&*store, 0, records(5_000, young)).await, [true; 3]);
    eventually("old events are gone", async || (all(&*store).await == young).then_some(())).await;
    for query in [of_user("ada"), of_type("LOGIN")] {
        assert_eq!(listed(&*store, &query, 2).await, young);
        assert_eq!(listed(&*store, &newest_first(query), 2).await, [5_002, 5_001, 5_000]);
    }
    eventually("the counts follow", async || {
        (store.stats().unwrap().events == 3 && store.expired() == Some(5_010)).then_some(())
    })
    .await;
    assert_eq!(store.get(Uuid::from_u128(7)).await.unwrap(), None);
    // From either partition, among new ones, also where the copy itself is young.
    assert_eq!(admit(&*store, 1, records(10, [7, 7_000, 6_001])).await, [false, true, false]);
    assert_eq!(admit(&*store, 0, old(records(5_003, [4_999, 5_002]))).await, [false, false]);
    // The time of the record counts, not that of the event.
    assert_eq!(admit(&*store, 0, records(5_005, [1_000_000])).await, [true]);
    assert_eq!(all(&*store).await, [5_000, 5_001, 5_002, 7_000, 1_000_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_what_is_older_than_the_retention_is_not_there_after_a_restart_either() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let mut ids = Vec::new();
    for hours in [3, 2, 0] {
        ids.push(Uuid::new_v4().to_string());
        let event = json!({"eventId": ids.last(), "userId": "ada", "eventType": "LOGIN"}).to_string();
        let timestamp = Utc::now() - TimeDelta::hours(hours);
        producer.publish(Message { timestamp, ..message("ada", event) }).await.unwrap();
    }
    for _ in 0..2 {
        let app = TestApp::start_with(&cluster, &[("STORE_RETENTION", "1h")]).await;
        app.until_ready().await;
        assert_eq!(app.processed().await, ids[2..], "the old ones have left");
        // It is known all the same.
        app.generate_from(&json!({"eventId": ids[0], "userId": "ada", "eventType": "LOGIN"})).await;
        cluster.until_committed_to_the_end().await;
        assert_eq!(app.processed().await, ids[2..]);
        assert!(app.get("/metrics").await.text().await.unwrap().contains("highwater_store_expired_total 2"));
        app.stop().await;
    }
}

async fn keeping(config: &PostgresConfig, retention: Duration) -> PostgresStore {
    PostgresStore::open(PostgresConfig { retention: Some(retention), ..config.clone() }).await.unwrap()
}

/// Lets time pass for all events in the database.
async fn age(database: &tokio_postgres::Client) {
    database.batch_execute("UPDATE events SET stored_at = stored_at - interval '2 hours'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_the_retention_leaves_in_batches_and_its_copies_are_known() {
    let Some(stores) = Stores::in_postgres() else { return };
    let store = stores.with_partitions(2).await;
    admit(&*store, 0, records(0, 0..4_500)).await;
    admit(&*store, 1, records(0, 5_000..5_010)).await;
    let (config, database) = stores.database().await.unwrap();
    age(&database).await;
    admit(&*store, 0, records(4_500, 4_500..4_503)).await;

    // Two processes delete: each event leaves once.
    let hour = Duration::from_secs(3600);
    let (one, other) = (keeping(&config, hour).await, keeping(&config, hour).await);
    eventually("old events are gone", async || (all(&*store).await == [4_500, 4_501, 4_502]).then_some(()))
        .await;
    eventually("each is counted once", async || {
        (one.expired().unwrap() + other.expired().unwrap() == 4_510).then_some(())
    })
    .await;
    assert_eq!(listed(&*store, &of_user("ada"), 10).await, [4_500, 4_501, 4_502]);
    let count = async |what: &str| -> i64 {
        database.query_one(&format!("SELECT {what}"), &[]).await.unwrap().get(0)
    };
    eventually("the count follows", async || (store.stats().unwrap().events == 3).then_some(())).await;
    eventually("empty blocks are gone", async || (count("count(*) FROM blocks").await == 1).then_some(()))
        .await;
    assert_eq!(count("count(*) FROM departed").await, 4_510);

    // From either partition, among new ones.
    assert_eq!(admit(&*store, 1, records(10, [7, 6_000, 5_001])).await, [false, true, false]);
    assert_eq!(admit(&*store, 0, records(4_503, [4_499, 4_502])).await, [false, false]);
    drop((one, other));
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_leaving_while_its_copy_comes_is_not_stored_again() {
    let Some(stores) = Stores::in_postgres() else { return };
    let store = stores.with_partitions(1).await;
    admit(&*store, 0, records(0, 0..6_000)).await;
    let (config, database) = stores.database().await.unwrap();
    age(&database).await;
    let other = stores.open().await;
    begin(&*other, 1).await;
    let deleting = keeping(&config, Duration::from_secs(3600)).await;
    let mut offset = 0;
    while deleting.expired() < Some(6_000) {
        let copies = admit(&*other, 1, records(offset, 0..6_000)).await;
        assert!(copies.iter().all(|is_new| !is_new), "a copy was stored");
        offset += 6_000;
    }
    drop(deleting);
    stores.clean_up().await;
}
