//! The right to write in PostgreSQL, and the fate of a write whose answer was lost.

use std::time::Duration;

use highwater::store::{EventStore, Log, PostgresStore, Start};
use uuid::Uuid;

use super::stores::{Stores, admit, all, begin, records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_claims_a_partition_fences_all_that_claimed_it_before() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (old, new) = (stores.with_partitions(2).await, stores.open().await);
    admit(&*old, 0, records(0, 0..3)).await;
    assert_eq!(begin(&*new, 0).await, 3, "it goes on where the other was");
    let refused = old.admit(0, records(3, 3..5), 5.into()).await.unwrap_err();
    assert!(refused.to_string().contains("claimed"), "{refused}");
    assert!(old.advance(0, 7.into()).await.is_err());
    assert!(old.move_to(0, 7.into()).await.is_err());
    assert_eq!(all(&*new).await, [0, 1, 2], "nothing of it is there");
    admit(&*new, 0, records(3, 3..4)).await;
    admit(&*old, 1, records(0, 10..11)).await;
    assert_eq!(all(&*new).await, [0, 1, 2, 3, 10]);
    assert_eq!(old.error(), None, "the database is not at fault");
    assert!(old.forget(0).await.is_ok());
    assert!(old.admit(0, records(4, 4..5), 5.into()).await.is_err(), "it has no claim at all");
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_from_below_the_position_is_refused_until_the_position_is_asked_for_again() {
    let Some(stores) = Stores::in_postgres() else { return };
    let store = stores.with_partitions(1).await;
    admit(&*store, 0, records(0, 0..10)).await;
    assert!(store.admit(0, records(5, 5..8), 8.into()).await.is_err());
    assert_eq!(begin(&*store, 0).await, 10);
    // As where a backup is restored under a running service.
    let (_, database) = stores.database().await.unwrap();
    database
        .batch_execute("DELETE FROM events WHERE position >= 4; UPDATE partitions SET next = 4")
        .await
        .unwrap();
    assert!(store.admit(0, records(10, 10..12), 12.into()).await.is_err());
    assert_eq!(begin(&*store, 0).await, 4);
    assert_eq!(admit(&*store, 0, records(4, 4..12)).await, [true; 8]);
    assert_eq!(all(&*store).await, (0..12).collect::<Vec<_>>());
    stores.clean_up().await;
}

/// The statement is under way, and its client is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_claim_waits_for_a_write_whose_answer_is_lost_and_tells_what_became_of_it() {
    let Some(stores) = Stores::in_postgres() else { return };
    let store = stores.with_partitions(1).await;
    let (_, locker) = stores.database().await.unwrap();
    // The write can come no further than to this id.
    locker.batch_execute("BEGIN").await.unwrap();
    let held = "INSERT INTO events SELECT 9, 0, $1, '', '', now(), now(), '{}'";
    locker.execute(held, &[&Uuid::from_u128(1)]).await.unwrap();
    let lost =
        tokio::time::timeout(Duration::from_millis(300), store.admit(0, records(0, 0..3), 3.into())).await;
    assert!(lost.is_err(), "it waits");
    let claiming = tokio::spawn(async move { (begin(&*store, 0).await, store) });
    locker.batch_execute("ROLLBACK").await.unwrap();
    let (position, store) = claiming.await.unwrap();
    let stored = all(&*store).await;
    assert_eq!(stored, (0..position as u32).collect::<Vec<_>>(), "all of it or nothing");
    admit(&*store, 0, records(position, position as u32..3)).await;
    assert_eq!(all(&*store).await, [0, 1, 2]);
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_again_begins_anew_and_one_of_another_name_is_refused() {
    let Some(stores) = Stores::in_postgres() else { return };
    let store = stores.open().await;
    let log = |topic, offsets| Log { topic_id: Some(Uuid::from_u128(topic)), offsets };
    assert_eq!(store.take_up(0, &log(1, 0..0)).await.unwrap(), Start::Unknown);
    store.move_to(0, 0.into()).await.unwrap();
    admit(&*store, 0, records(0, 0..5)).await;
    assert_eq!(store.take_up(0, &log(1, 0..5)).await.unwrap(), Start::At(5.into()));
    assert_eq!(store.take_up(0, &log(2, 0..3)).await.unwrap(), Start::At(0.into()));
    admit(&*store, 0, records(0, 5..8)).await;
    assert_eq!(store.take_up(0, &log(2, 0..3)).await.unwrap(), Start::At(3.into()));
    assert_eq!(all(&*store).await, (0..8).collect::<Vec<_>>());
    let (mut config, _) = stores.database().await.unwrap();
    config.topic = "others".to_owned();
    let other = PostgresStore::open(config).await.unwrap();
    let refused = other.take_up(0, &log(3, 0..3)).await.unwrap_err();
    assert!(refused.to_string().contains("STORE_SCHEMA"), "{refused}");
    stores.clean_up().await;
}
