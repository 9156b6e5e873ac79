//! Events older than the retention leave PostgreSQL, and their ids stay.

use std::time::Duration;

use highwater::store::{EventStore, PostgresConfig, PostgresStore};

use super::stores::{Stores, admit, all, begin, listed, of_user, records};
use crate::support::eventually;

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
