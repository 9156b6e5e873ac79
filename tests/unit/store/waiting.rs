//! Waiting for an event to be admitted.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use highwater::store::{EventStore, MemoryStore};
use tokio::{
    runtime,
    task::{JoinHandle, yield_now},
};
use uuid::Uuid;

use super::{admit, events, store};

const LONG: Duration = Duration::from_secs(3_600);

/// A task that waits for that event and is registered.
async fn waiting(store: &Arc<MemoryStore>, number: u128) -> JoinHandle<Option<u128>> {
    let before = store.awaited_ids();
    let waiter = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let found = store.wait_for(Uuid::from_u128(number), LONG).await.unwrap();
            found.map(|event| event.id().as_u128())
        })
    };
    while store.awaited_ids() == before && !waiter.is_finished() {
        yield_now().await;
    }
    waiter
}

#[tokio::test]
async fn a_stored_event_is_returned_without_waiting() {
    let store = store(10);
    admit(&store, 0, events([1])).await;
    let found = store.wait_for(Uuid::from_u128(1), Duration::ZERO).await.unwrap();
    assert_eq!(found.unwrap().id().as_u128(), 1);
    assert_eq!(store.awaited_ids(), 0);
}

#[tokio::test]
async fn an_admission_wakes_the_waiters_of_its_event_alone() {
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
    assert_eq!(store.awaited_ids(), 1);
    admit(&store, 0, events([2])).await;
    assert_eq!(other.await.unwrap(), Some(2));
    assert_eq!(store.awaited_ids(), 0);
}

#[tokio::test]
async fn an_event_that_is_evicted_at_once_still_reaches_its_waiters() {
    let store = Arc::new(store(1));
    let waiter = waiting(&store, 1).await;
    admit(&store, 0, events([1, 2])).await;
    assert_eq!(store.get(Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(waiter.await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_times_out_is_removed() {
    let store = store(10);
    let started = tokio::time::Instant::now();
    assert_eq!(store.wait_for(Uuid::from_u128(1), Duration::from_secs(2)).await.unwrap(), None);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(store.awaited_ids(), 0);
}

#[tokio::test]
async fn a_cancelled_waiter_is_removed_and_others_keep_waiting() {
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
    assert_eq!(store.awaited_ids(), 1);
    admit(&store, 0, events([1])).await;
    assert_eq!(stays.await.unwrap(), Some(1));
}

/// Fails when the lookup precedes the registration, since an admission in between would wake no waiter.
#[test]
fn a_waiter_that_registers_during_an_admission_misses_nothing() {
    const EVENTS: u32 = 50_000;

    let store = store(u64::from(EVENTS));
    let waited_for = AtomicU32::new(0);
    let runtime = || runtime::Builder::new_current_thread().enable_time().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = runtime();
            for number in 1..=EVENTS {
                while waited_for.load(Ordering::Relaxed) < number {
                    thread::yield_now();
                }
                assert_eq!(runtime.block_on(admit(&store, 0, events([number]))), [true]);
            }
        });
        let runtime = runtime();
        for number in 1..=EVENTS {
            let waiting = store.wait_for(Uuid::from_u128(number.into()), Duration::from_secs(20));
            waited_for.store(number, Ordering::Relaxed);
            // The admission meets a different step of the registration each time.
            for _ in 0..number % 199 {
                hint::spin_loop();
            }
            let found = runtime.block_on(waiting).unwrap();
            // The admission completes independently of the waiter.
            if found.is_none() {
                waited_for.store(EVENTS, Ordering::Relaxed);
            }
            assert!(found.is_some(), "nobody woke the one who waits for {number}");
        }
    });
    assert_eq!(store.awaited_ids(), 0);
}
