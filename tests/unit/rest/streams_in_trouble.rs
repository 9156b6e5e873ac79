//! `GET /events/stream` where readers lag, partitions leave, reads fail and clients make things up.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::join};
use highwater::{
    activity::Api,
    store::{ActivityEvent, Erasure, EventStore as _, StoreError},
};
use serde_json::value::RawValue;
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    service::{Service, event},
    streams::{Reading, follow},
};
use crate::processor::Flaky;

/// The store of a service, with faults.
fn flaky(service: &Service) -> (Arc<Flaky>, Arc<Api>) {
    let store = Arc::new(Flaky::of(Arc::clone(&service.store), usize::MAX));
    let mut api = service.api();
    api.store = Arc::clone(&store) as _;
    (store, Arc::new(api))
}

/// An event whose JSON has about so many bytes.
fn large(number: u128, bytes: usize) -> ActivityEvent {
    let payload = RawValue::from_string(format!("{{\"x\":\"{}\"}}", "x".repeat(bytes))).unwrap();
    ActivityEvent::new(Uuid::from_u128(number), "ann", "LOGIN", chrono::Utc::now(), Some(&payload))
}

/// Reads until the end's message, and says what it is. Each event before it must have an id that begins so.
pub(super) async fn end(reading: &mut Reading, id: &str) -> String {
    loop {
        let message = reading.next().await.unwrap();
        if message.starts_with("event: end") {
            return message;
        }
        assert!(message.starts_with(&format!("id: {id}")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_always_has_events_before_it_ends_after_15_minutes_too() {
    let service = Service::new().with_partitions(&[0]);
    let mut reading = service.follow("/events/stream", None).await;
    reading.next().await.unwrap();
    sleep(Duration::from_secs(15 * 60)).await;
    service.admit_all(0..5).await;
    sleep(Duration::from_secs(1)).await;
    assert!(reading.next().await.unwrap().contains("\"renewed\""));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_store_does_not_pass_over_a_partition_that_leaves() {
    let service = Service::new().with_partitions(&[0, 1]);
    for number in 0..300 {
        service.admit(1, number, event(number as u128, "ann", "LOGIN")).await;
    }
    service.admit_all(300..303).await;
    let mut reading = service.follow("/events/stream?cursor=0-0-1-0", None).await;
    reading.next().await.unwrap();
    // It waits for the right to read, and knows the end.
    assert!(reading.next().now_or_never().is_none());
    service.holds(&[1]);
    service.store.forget(0).await.unwrap();
    assert!(end(&mut reading, "0-0-").await.contains("\"moved\""));
}

#[tokio::test(start_paused = true)]
async fn a_reader_at_the_end_does_not_pass_over_a_partition_that_leaves() {
    let service = Service::new().with_partitions(&[0, 1]);
    let mut reading = service.follow("/events/stream", None).await;
    reading.next().await.unwrap();
    assert!(reading.next().now_or_never().is_none());
    sleep(Duration::from_millis(200)).await;
    for number in 0..600 {
        service.admit(1, number, event(number as u128, "ann", "LOGIN")).await;
    }
    service.admit_all(600..603).await;
    while reading.next().now_or_never().is_none() {
        yield_now().await;
    }
    service.holds(&[1]);
    service.store.forget(0).await.unwrap();
    assert!(end(&mut reading, "0-0-").await.contains("\"moved\""));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_erased_is_not_sent_again() {
    let service = Service::new().with_partitions(&[0]);
    let mut first = service.follow("/events/stream", None).await;
    service.admit_all(0..1).await;
    assert_eq!(first.event().await.0, 0);
    service.store.erase(0, &Erasure { user_id: "ann".into(), offset: 1 }, 2.into()).await.unwrap();
    sleep(Duration::from_secs(11)).await;
    service.admit(0, 2, event(2, "bob", "LOGIN")).await;
    let mut second = service.follow("/events/stream", Some("0-0")).await;
    assert_eq!(second.event().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_half_a_minute_behind_is_cut_off() {
    let service = Service::new().with_partitions(&[0]);
    let mut reading = service.follow("/events/stream", None).await;
    service.admit_all(0..1).await;
    assert_eq!(reading.event().await.0, 0);
    service.admit_all(1..2).await;
    sleep(Duration::from_secs(32)).await;
    assert!(reading.next().await.unwrap().contains("\"slow\""));
    let mut again = service.follow("/events/stream", Some("0-1")).await;
    assert_eq!(again.event().await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_has_no_partitions_that_the_topic_cannot_have() {
    let service = Service::new().with_partitions(&[0]);
    let made_up: String = (0..2000).map(|partition| format!("-{partition:x}-7")).collect();
    let mut reading = service.follow("/events/stream", Some(&made_up[1..])).await;
    // The topic has three; twice as many may have come since.
    assert_eq!(reading.next().await.unwrap(), "retry: 2000\nid: 0-7-1-7-2-7-3-7-4-7-5-7");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_where_a_partition_begins_anew_and_goes_on_there() {
    let service = Service::new().with_partitions(&[0]);
    service.admit_all(0..5).await;
    let mut reading = service.follow("/events/stream", None).await;
    assert_eq!(reading.next().await.unwrap(), "retry: 2000\nid: 0-5");
    service.store.forget(0).await.unwrap();
    service.admit(0, 0, event(10, "ann", "LOGIN")).await;
    service.status.send_modify(|status| status.group.partitions[0].end = 1);
    assert!(reading.next().await.unwrap().contains("\"moved\""));
    let mut again = service.follow("/events/stream", Some("0-5")).await;
    service.admit(0, 1, event(11, "ann", "LOGIN")).await;
    assert_eq!(again.event().await, (11, "0-2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_comes_in_small_pieces_however_much_there_is() {
    const EVENTS: u128 = 600;
    let service = Service::new().with_partitions(&[0]);
    let admit = async |numbers: std::ops::Range<u128>| {
        for number in numbers {
            service.admit(0, number as i64, large(number, 3000)).await;
        }
    };
    let mut live = service.follow("/events/stream?userId=ann", None).await;
    live.next().await.unwrap();
    assert!(live.next().now_or_never().is_none());
    admit(0..EVENTS).await;
    // The other one is told by the store: what the streams share is too old.
    sleep(Duration::from_secs(11)).await;
    let stored = service.follow("/events/stream?cursor=0-0", None).await;
    for mut reading in [live, stored] {
        let mut events = 0;
        while events < EVENTS {
            let piece = reading.body.next().await.unwrap();
            assert!(piece.len() < 36 * 1024, "{} bytes", piece.len());
            let text = std::str::from_utf8(&piece).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
                assert!(line.contains(&Uuid::from_u128(events).to_string()), "{line}");
                events += 1;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_read_fails_holds_up_no_other() {
    let service = Service::new().with_partitions(&[0]);
    service.admit_all(0..3).await;
    let (store, api) = flaky(&service);
    let mut unlucky = follow(&api, "/events/stream?cursor=0-0", None).await;
    let mut other = follow(&api, "/events/stream?cursor=0-0", None).await;
    store.fail_read(|| Err(StoreError::new("as asked")));
    unlucky.next().await.unwrap();
    let begun = Instant::now();
    let (numbers, (others, after)) = join(unlucky.numbers(3), async {
        let others = other.numbers(3).await;
        (others, begun.elapsed())
    })
    .await;
    assert_eq!((numbers, others), (vec![0, 1, 2], vec![0, 1, 2]));
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waits");
    assert!(after < Duration::from_secs(1), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_task_that_all_streams_share_ends_them_and_they_go_on() {
    let service = Service::new().with_partitions(&[0]);
    let (store, api) = flaky(&service);
    let mut reading = follow(&api, "/events/stream", None).await;
    reading.next().await.unwrap();
    assert!(reading.next().now_or_never().is_none());
    store.fail_read(|| panic!("as asked"));
    service.admit_all(0..1).await;
    assert!(reading.next().await.unwrap().contains("\"moved\""));
    let mut again = follow(&api, "/events/stream", Some("0-0")).await;
    assert_eq!(again.event().await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_restored_partition_a_stream_is_503_until_there_is_one() {
    let service = Service::new();
    let begun = Instant::now();
    let refused = service.get("/events/stream").await;
    assert_eq!(begun.elapsed().as_secs(), 10, "it is waited for");
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    service.holds(&[0]);
    service.follow("/events/stream", None).await;
}
