//! The bounds of the store, and eviction.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use highwater::store::{ActivityEvent, Config, EventRecord, EventStore, MemoryStore};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{admit, all, event, events, listed, moment, of_type, of_user, store};

#[tokio::test]
async fn the_oldest_of_a_partition_leave_first_and_are_counted() {
    let store = store(6);
    store.set_partition_count(2).await.unwrap();
    assert_eq!(store.max_events_per_partition(), 3);
    admit(&store, 0, events(0..3)).await;
    admit(&store, 1, events(10..12)).await;
    assert_eq!(store.stats().evicted, 0);
    admit(&store, 0, events(3..5)).await;
    assert_eq!(all(&store).await, [2, 10, 11, 3, 4]);
    assert_eq!((store.stats().events, store.stats().evicted), (5, 2));
    assert_eq!(store.get(Uuid::from_u128(0)).await.unwrap(), None);
}

#[tokio::test]
async fn an_evicted_event_is_in_no_index() {
    let store = store(2);
    for number in 0..10 {
        let user_id = format!("user-{}", number % 5);
        admit(&store, 0, vec![event(number, &user_id, ["A", "b"][number as usize % 2])]).await;
    }
    assert_eq!(listed(&store, &of_user("user-3"), 10).await, [8]);
    assert!(listed(&store, &of_user("user-0"), 10).await.is_empty());
    assert_eq!(listed(&store, &of_type("a"), 10).await, [8]);
    assert_eq!(listed(&store, &of_type("B"), 10).await, [9]);
}

#[tokio::test]
async fn a_repeat_of_an_evicted_event_is_new() {
    let store = store(2);
    admit(&store, 0, events(0..3)).await;
    assert_eq!(admit(&store, 0, events([0, 2])).await, [true, false]);
    assert_eq!(all(&store).await, [2, 0]);
}

#[tokio::test]
async fn a_batch_beyond_the_bound_keeps_its_newest_events() {
    let store = store(3);
    assert_eq!(admit(&store, 0, events(0..10)).await, [true; 10]);
    assert_eq!(all(&store).await, [7, 8, 9]);
}

#[tokio::test]
async fn a_smaller_bound_per_partition_applies_at_once_and_is_at_least_one() {
    let store = store(20_000);
    admit(&store, 0, events(0..15_000)).await;
    admit(&store, 1, events(15_000..15_010)).await;
    store.set_partition_count(2_000).await.unwrap();
    assert_eq!(all(&store).await, (14_990..15_010).collect::<Vec<_>>());
    store.set_partition_count(50_000).await.unwrap();
    assert_eq!(store.max_events_per_partition(), 1);
    assert_eq!(all(&store).await, [14_999, 15_009]);
    store.set_partition_count(0).await.unwrap();
    assert_eq!(store.max_events_per_partition(), 20_000);
}

#[tokio::test]
async fn a_partition_is_full_when_its_own_bound_is_reached() {
    let store = store(4);
    store.set_partition_count(2).await.unwrap();
    assert!(!store.is_full(0).await.unwrap());
    admit(&store, 0, events(0..1)).await;
    assert!(!store.is_full(0).await.unwrap());
    admit(&store, 0, events(1..2)).await;
    assert!(store.is_full(0).await.unwrap());
    assert!(!store.is_full(1).await.unwrap());
}

#[tokio::test]
async fn forgetting_a_partition_forgets_its_events_alone() {
    let store = store(100_000);
    admit(&store, 0, events(0..10_000)).await;
    // Copies of the other partition's, and one of its own.
    admit(&store, 1, events(9_999..10_001)).await;
    store.forget(0).await.unwrap();
    assert_eq!(all(&store).await, [10_000]);
    assert_eq!(listed(&store, &of_user("ada"), 10).await, [10_000]);
    assert_eq!(store.get(Uuid::from_u128(9_999)).await.unwrap(), None);
    assert_eq!((store.stats().events, store.stats().evicted), (1, 0));
    assert_eq!(admit(&store, 1, events([5, 10_000])).await, [true, false]);
    store.forget(7).await.unwrap();
    assert_eq!(all(&store).await, [10_000, 5]);
}

#[tokio::test]
async fn forgetting_completes_although_its_caller_is_cancelled() {
    let store = store(100_000);
    admit(&store, 0, events(0..20_000)).await;
    {
        let mut forgetting = pin!(store.forget(0));
        assert!(forgetting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_ne!(store.get(Uuid::from_u128(19_999)).await.unwrap(), None);
    }
    assert_eq!(store.get(Uuid::from_u128(19_999)).await.unwrap(), None);
    assert!(admit(&store, 0, events(0..20_000)).await.iter().all(|new| *new));
}

/// Admits events of partition 0 whose numbers are their offsets.
async fn admit_at_their_offsets(store: &MemoryStore, numbers: impl IntoIterator<Item = u32>) {
    let offered = events(numbers).into_iter().map(|event| EventRecord {
        offset: event.timestamp_millis(),
        written_at: 0,
        event,
    });
    store.admit(0, offered.collect(), 0.into()).await.unwrap();
}

#[tokio::test]
async fn the_offset_of_the_oldest_restorable_event_is_known() {
    let store = store(3);
    assert_eq!(store.held_from(0), None);
    admit_at_their_offsets(&store, [7]).await;
    assert_eq!(store.held_from(0), Some(7));
    admit_at_their_offsets(&store, [8, 9, 12]).await;
    assert_eq!(store.held_from(0), Some(8));
    // A recreated topic: events of the old one cannot be restored.
    admit_at_their_offsets(&store, [2]).await;
    assert_eq!(store.held_from(0), Some(2));
    admit_at_their_offsets(&store, [3, 4, 5]).await;
    assert_eq!(store.held_from(0), Some(3));
    store.forget(0).await.unwrap();
    assert_eq!(store.held_from(0), None);
}

/// An event with a payload of at least this many bytes.
fn large(number: u32, bytes: usize) -> ActivityEvent {
    let payload = RawValue::from_string(format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes))).unwrap();
    ActivityEvent::new(Uuid::from_u128(number.into()), "ada", "LOGIN", moment(number.into()), Some(&payload))
}

#[tokio::test]
async fn the_oldest_events_leave_when_the_bytes_exceed_the_bound() {
    let store = MemoryStore::new(&Config { max_events: 1_000, max_bytes: 20_000 });
    store.set_partition_count(2).await.unwrap();
    for number in 0..20 {
        admit(&store, 0, vec![large(number, 2_000)]).await;
    }
    admit(&store, 1, vec![large(100, 2_000)]).await;
    assert_eq!(all(&store).await, [16, 17, 18, 19, 100], "four of these take no more than 10,000 bytes");
    // A single event that exceeds the bound is held all the same.
    admit(&store, 0, vec![large(20, 30_000)]).await;
    assert_eq!(all(&store).await, [100, 20]);
    admit(&store, 0, events(21..24)).await;
    assert_eq!(all(&store).await, [100, 21, 22, 23]);
    assert_eq!(store.stats().evicted, 21);
}

#[tokio::test]
async fn a_partition_is_full_when_events_were_evicted_for_their_bytes() {
    let store = MemoryStore::new(&Config { max_events: 1_000, max_bytes: 10_000 });
    for number in 0..3 {
        admit(&store, 0, vec![large(number, 2_000)]).await;
        assert!(!store.is_full(0).await.unwrap());
    }
    admit(&store, 0, vec![large(3, 2_000), large(4, 2_000)]).await;
    assert!(store.is_full(0).await.unwrap());
    store.forget(0).await.unwrap();
    assert!(!store.is_full(0).await.unwrap());
}

#[tokio::test]
async fn of_a_truncated_log_what_it_still_has_is_restored_as_well() {
    let store = store(5);
    admit_at_their_offsets(&store, 0..5).await;
    // Another history of the log begins at offset 3.
    let other = EventRecord { offset: 3, written_at: 0, event: event(103, "ada", "LOGIN") };
    store.admit(0, vec![other], 0.into()).await.unwrap();
    assert_eq!(store.held_from(0), Some(1), "the event at offset 0 was evicted");
}
