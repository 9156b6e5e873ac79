//! Admission: each eventId once.

use std::{collections::HashSet, sync::Barrier, thread};

use highwater::store::{EventQuery, EventStore};
use tokio::runtime;
use uuid::Uuid;

use super::{admit, all, event, events, listed, of_user, store};

#[tokio::test]
async fn an_event_is_admitted_once_and_its_first_copy_stays() {
    let store = store(100);
    assert_eq!(admit(&store, 0, vec![event(1, "ada", "A"), event(1, "eve", "B")]).await, [true, false]);
    assert_eq!(admit(&store, 0, vec![event(1, "eve", "B"), event(2, "ada", "A")]).await, [false, true]);
    assert_eq!(admit(&store, 1, vec![event(2, "eve", "B")]).await, [false]);
    let kept = store.get(Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!((kept.user_id().as_ref(), kept.event_type().as_ref()), ("ada", "A"));
    assert_eq!(all(&store).await, [1, 2]);
    assert!(listed(&store, &of_user("eve"), 10).await.is_empty());
    assert_eq!((store.stats().events, store.stats().duplicates), (2, 3));
}

#[tokio::test]
async fn an_event_that_was_never_admitted_is_not_found() {
    let store = store(100);
    assert_eq!(store.get(Uuid::from_u128(1)).await.unwrap(), None);
    assert!(all(&store).await.is_empty());
    assert!(admit(&store, 0, vec![]).await.is_empty());
}

#[tokio::test]
async fn events_of_all_partitions_are_listed_in_the_order_in_which_they_were_processed() {
    let store = store(100);
    for (partition, numbers) in [(2, 5..8), (0, 20..22), (2, 1..3), (1, 9..10), (0, 3..5)] {
        admit(&store, partition, events(numbers)).await;
    }
    assert_eq!(all(&store).await, [5, 6, 7, 20, 21, 1, 2, 9, 3, 4]);
}

/// Fails when lookup and insertion are two steps: checked with the lookup moved out of the lock.
#[test]
fn exactly_one_of_many_threads_admits_each_event() {
    const THREADS: usize = 8;
    const EVENTS: u32 = 5_000;

    let store = store(1_000_000);
    let start = Barrier::new(THREADS);
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|partition| {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    let runtime = runtime::Builder::new_current_thread().build().unwrap();
                    start.wait();
                    let numbers: Vec<u32> = (0..EVENTS).collect();
                    let mut new = 0;
                    for some in numbers.chunks(7) {
                        let offered = events(some.iter().copied());
                        let admitted = runtime.block_on(admit(store, partition as i32, offered));
                        new += admitted.iter().filter(|new| **new).count();
                    }
                    new
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, EVENTS as usize);
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let listed = runtime.block_on(listed(&store, &EventQuery::default(), 1000));
    assert_eq!(listed.len(), EVENTS as usize);
    assert_eq!(listed.into_iter().collect::<HashSet<_>>().len(), EVENTS as usize);
    assert_eq!(store.stats().duplicates, (THREADS as u64 - 1) * u64::from(EVENTS));
}
