//! `GET /events/stream` where events have left the store before a client had them.

use std::{sync::Arc, time::Duration};

use highwater::store::{Config, Erasure, EventRecord, EventStore as _, MemoryStore};
use tokio::time::sleep;

use super::{
    service::{Service, event},
    streams_in_trouble::end,
};

/// A service whose store has room for so many events.
fn with_room_for(max_events: u64) -> Service {
    let store = Arc::new(MemoryStore::new(&Config { max_events, max_bytes: u64::MAX }));
    Service { store, ..Service::new() }.with_partitions(&[0, 1, 2])
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_once_which_positions_have_left_the_store_meanwhile() {
    let service = with_room_for(5);
    service.admit_all(0..3).await;
    service.admit(1, 7, event(100, "bob", "LOGIN")).await;
    let mut reading = service.follow("/events/stream?cursor=0-0-1-0", None).await;
    reading.next().await.unwrap();
    assert_eq!(reading.numbers(4).await, [0, 1, 2, 100], "nothing has left");
    drop(reading);

    service.admit_all(3..20).await;
    sleep(Duration::from_secs(31)).await;
    // Bob's event is still there, and so is everything that a filter leaves out.
    for (query, found) in [("", vec![15, 16, 17, 18, 19]), ("?userId=bob", vec![])] {
        let mut again = service.follow(&format!("/events/stream{query}"), Some("0-3-1-7")).await;
        assert_eq!(again.next().await.unwrap(), "retry: 2000\nid: 0-3-1-7");
        assert_eq!(
            again.next().await.unwrap(),
            "event: gap\nid: 0-f-1-7\ndata: {\"missing\":[{\"partition\":0,\"from\":3,\"to\":15}],\
             \"detail\":\"the events at these positions are not held any more\"}"
        );
        let mut numbers = again.numbers(1 + found.len()).await;
        numbers.sort_unstable();
        assert_eq!(numbers, [found, vec![100]].concat());
    }
    let mut told = service.follow("/events/stream", Some("0-f-1-8")).await;
    told.next().await.unwrap();
    assert_eq!(told.event().await.0, 15, "it is told once");
    let mut new = service.follow("/events/stream?cursor=1-8", None).await;
    new.next().await.unwrap();
    assert_eq!(new.event().await.0, 15, "all that is stored was asked for");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_of_events_that_were_too_old_and_of_none_that_were_erased() {
    let service = Service::new();
    let store = MemoryStore::new(&Config { max_events: 100, max_bytes: u64::MAX });
    let service = Service { store: store.keeping(Duration::from_secs(60)), ..service }.with_partitions(&[0]);
    let now = chrono::Utc::now().timestamp_millis();
    for number in 0..6 {
        let written_at = if number < 3 { now - 70_000 } else { now };
        let user = if number == 4 { "ann" } else { "bob" };
        let record = EventRecord { offset: number, written_at, event: event(number as u128, user, "LOGIN") };
        service.store.admit(0, vec![record], 0.into()).await.unwrap();
    }
    service.store.erase(0, &Erasure { user_id: "ann".into(), offset: 6 }, 7.into()).await.unwrap();
    let mut reading = service.follow("/events/stream", Some("0-1")).await;
    reading.next().await.unwrap();
    let gap = reading.next().await.unwrap();
    assert!(gap.contains("[{\"partition\":0,\"from\":1,\"to\":3}]"), "{gap}");
    assert_eq!(reading.numbers(2).await, [3, 5]);
}

#[tokio::test(start_paused = true)]
async fn events_that_leave_before_the_streams_have_read_them_end_these_and_are_told_to_each() {
    let service = with_room_for(5);
    let mut reading = service.follow("/events/stream", None).await;
    reading.next().await.unwrap();
    service.admit_all(0..2).await;
    assert_eq!(reading.numbers(2).await, [0, 1]);
    // More at once than it has room for.
    service.admit_all(2..20).await;
    assert!(end(&mut reading, "0-").await.contains("\"moved\""));
    let mut again = service.follow("/events/stream", Some("0-2-1-0-2-0")).await;
    again.next().await.unwrap();
    assert!(again.next().await.unwrap().contains("[{\"partition\":0,\"from\":2,\"to\":15}]"));
    assert_eq!(again.numbers(5).await, [15, 16, 17, 18, 19]);
}

#[tokio::test(start_paused = true)]
async fn what_was_before_a_restored_partition_is_missing_to_those_who_had_less() {
    let service = Service::new();
    service.store.restores_from(0, 40);
    service.store.restores_from(0, 50);
    let service = service.with_partitions(&[0]);
    let mut reading = service.follow("/events/stream", None).await;
    assert_eq!(reading.next().await.unwrap(), "retry: 2000\nid: 0-28", "the end, though nothing is there");
    service.admit_all(40..43).await;
    assert_eq!(reading.numbers(3).await, [40, 41, 42]);
    sleep(Duration::from_secs(31)).await;
    for (last, missing) in [("0-27", true), ("0-28", false)] {
        let mut again = service.follow("/events/stream", Some(last)).await;
        again.next().await.unwrap();
        if missing {
            assert!(again.next().await.unwrap().contains("[{\"partition\":0,\"from\":39,\"to\":40}]"));
        }
        assert_eq!(again.numbers(3).await, [40, 41, 42]);
    }
}
