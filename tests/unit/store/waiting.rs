//! Waiting for an event to be admitted.

use std::{sync::Arc, time::Duration};

use highwater::store::{EventStore, MemoryStore};
use tokio::task::{JoinHandle, yield_now};
use uuid::Uuid;

use super::{admit, events, store};

const LONG: Duration = Duration::from_secs(3_600);

/// Somebody who waits for that event, and is known to.
async fn waiting(store: &Arc<MemoryStore>, number: u128) -> JoinHandle<Option<u128>> {
    let before = store.awaited();
    let waiter = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let found = store.wait_for(Uuid::from_u128(number), LONG).await.unwrap();
            found.map(|event| event.id().as_u128())
        })
    };
    while store.awaited() == before && !waiter.is_finished() {
        yield_now().await;
    }
    waiter
}

#[tokio::test]
async fn an_event_that_is_there_is_not_waited_for() {
    let store = store(10);
    admit(&store, 0, events([1])).await;
    let found = store.wait_for(Uuid::from_u128(1), Duration::ZERO).await.unwrap();
    assert_eq!(found.unwrap().id().as_u128(), 1);
    assert_eq!(store.awaited(), 0);
}

#[tokio::test]
async fn an_admission_wakes_those_who_wait_for_it_and_nobody_else() {
    let store = Arc::new(store(10));
    let first = waiting(&store, 1).await;
    let other = waiting(&store, 2).await;
    let second = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.wait_for(Uuid::from_u128(1), LONG).await.unwrap().is_some() }
    });
    yield_now().await;
    admit(&store, 0, events([7, 1])).await;
    assert_eq!(first.await.unwrap(), Some(1));
    assert!(second.await.unwrap());
    assert!(!other.is_finished());
    assert_eq!(store.awaited(), 1);
    admit(&store, 0, events([2])).await;
    assert_eq!(other.await.unwrap(), Some(2));
    assert_eq!(store.awaited(), 0);
}

#[tokio::test]
async fn an_event_that_leaves_at_once_still_reaches_those_who_wait() {
    let store = Arc::new(store(1));
    let waiter = waiting(&store, 1).await;
    admit(&store, 0, events([1, 2])).await;
    assert_eq!(store.get(Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(waiter.await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn one_who_waited_in_vain_is_told_so_and_forgotten() {
    let store = store(10);
    let started = tokio::time::Instant::now();
    assert_eq!(store.wait_for(Uuid::from_u128(1), Duration::from_secs(2)).await.unwrap(), None);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(store.awaited(), 0);
}

#[tokio::test]
async fn one_who_leaves_is_forgotten_and_others_go_on_waiting() {
    let store = Arc::new(store(10));
    let stays = waiting(&store, 1).await;
    let leaves = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.wait_for(Uuid::from_u128(1), LONG).await })
    };
    let alone = waiting(&store, 2).await;
    for gone in [&leaves.abort_handle(), &alone.abort_handle()] {
        gone.abort();
    }
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert!(alone.await.unwrap_err().is_cancelled());
    assert_eq!(store.awaited(), 1);
    admit(&store, 0, events([1])).await;
    assert_eq!(stays.await.unwrap(), Some(1));
}

#[test]
fn no_admission_is_missed_by_one_who_begins_to_wait_meanwhile() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(store(1_000_000));
        for number in 0..2_000 {
            let waiter = tokio::spawn({
                let store = Arc::clone(&store);
                async move { store.wait_for(Uuid::from_u128(number), LONG).await.unwrap() }
            });
            let admitter = tokio::spawn({
                let store = Arc::clone(&store);
                async move { admit(&store, 0, events([number as u32])).await }
            });
            assert_eq!(admitter.await.unwrap(), [true]);
            let found = tokio::time::timeout(Duration::from_secs(60), waiter).await;
            assert!(found.expect("it is woken").unwrap().is_some());
        }
        assert_eq!(store.awaited(), 0);
    });
}
