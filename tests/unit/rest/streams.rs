//! `GET /events/stream`, without sockets: what it sends, where it begins, when it ends.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, future::join};
use highwater::{
    activity::{Api, routes},
    store::{ActivityEvent, EventRecord, EventStore as _},
};
use highwater_kafka::{GroupPhase, PartitionStatus};
use highwater_web::shutdown::Stage;
use http_body_util::BodyExt as _;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use warp::{Reply as _, http::HeaderMap};

use super::service::{Service, changed, event};

/// A stream that a client reads.
pub(super) struct Reading {
    headers: HeaderMap,
    pub(super) body: Pin<Box<dyn Stream<Item = Bytes>>>,
    text: String,
}

impl Reading {
    /// The next message, without the blank line at its end; `None` where the stream has ended.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let message = message.to_owned();
                self.text = rest.to_owned();
                return Some(message);
            }
            self.text.push_str(std::str::from_utf8(&self.body.next().await?).unwrap());
        }
    }

    /// The next event: its number, and the cursor after it.
    pub(super) async fn event(&mut self) -> (u128, String) {
        loop {
            let message = self.next().await.unwrap();
            if let Some((id, data)) = message.split_once("\ndata: ") {
                let event: serde_json::Value = serde_json::from_str(data).unwrap();
                let number = Uuid::parse_str(event["eventId"].as_str().unwrap()).unwrap().as_u128();
                return (number, id.strip_prefix("id: ").unwrap().to_owned());
            }
        }
    }

    /// The numbers of the next events.
    pub(super) async fn numbers(&mut self, count: usize) -> Vec<u128> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.event().await.0);
        }
        numbers
    }
}

/// Opens a stream, after that id.
pub(super) async fn follow(api: &Arc<Api>, path: &str, last: Option<&str>) -> Reading {
    let mut request = warp::test::request().path(path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.filter(&routes(Arc::clone(api))).await.unwrap().into_response();
    assert_eq!(response.status(), 200);
    let (head, body) = response.into_parts();
    let body = Box::pin(body.into_data_stream().map(|piece| piece.unwrap()));
    Reading { headers: head.headers, body, text: String::new() }
}

impl Service {
    /// With these partitions, restored.
    pub(super) fn with_partitions(self, partitions: &[i32]) -> Self {
        self.holds(partitions);
        self
    }

    /// Has these partitions from now on, restored.
    pub(crate) fn holds(&self, partitions: &[i32]) {
        self.status.send_modify(|status| {
            let group = &mut status.group;
            (group.phase, group.caught_up, group.topic_partitions) = (GroupPhase::Assigned, true, 3);
            let held = |number: &i32| {
                changed(|held: &mut PartitionStatus| {
                    (held.partition, held.restored, held.end) = (*number, true, 1000);
                })
            };
            group.partitions = partitions.iter().map(held).collect();
        });
    }

    pub(super) async fn follow(&self, path: &str, last: Option<&str>) -> Reading {
        follow(&Arc::new(self.api()), path, last).await
    }

    pub(super) async fn admit(&self, partition: i32, offset: i64, event: ActivityEvent) {
        let record = EventRecord { offset, written_at: 0, event };
        self.store.admit(partition, vec![record], 0.into()).await.unwrap();
    }

    /// Events of these numbers, each at the offset of its number.
    pub(crate) async fn admit_all(&self, numbers: std::ops::Range<u128>) {
        for number in numbers {
            self.admit(0, number as i64, event(number, "ann", "LOGIN")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_now_and_each_event_has_the_cursor_after_it() {
    let service = Service::new().with_partitions(&[0, 1, 2]);
    service.admit_all(0..1).await;
    let mut reading = service.follow("/events/stream", None).await;
    assert_eq!(reading.headers["content-type"], "text/event-stream");
    assert_eq!(reading.headers["cache-control"], "no-cache");
    assert_eq!(reading.headers["highwater-partitions"], r#"held="0-2", restored="0-2", of=3, whole=?1"#);
    assert_eq!(reading.next().await.unwrap(), "retry: 2000\nid: 0-1-1-0-2-0");
    service.admit(2, 15, event(7, "ann", "LOGIN")).await;
    let expected = format!(
        r#"{{"eventId":"{}","userId":"ann","eventType":"LOGIN","timestamp":"2026-05-01T10:00:00.000Z","payload":{{"n":1.0}}}}"#,
        Uuid::from_u128(7)
    );
    assert_eq!(reading.next().await.unwrap(), format!("id: 0-1-1-0-2-10\ndata: {expected}"));
    service.admit_all(1..2).await;
    assert_eq!(reading.event().await, (1, "0-2-1-0-2-10".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_goes_on_after_its_last_id_or_else_after_a_cursor() {
    let service = Service::new().with_partitions(&[0]);
    service.admit_all(0..400).await;
    let link = service.get("/events/processed?limit=3").await;
    let link = link.header("link").unwrap().to_owned();
    let cursor = link.split("cursor=").nth(1).unwrap().split('>').next().unwrap();
    let with_cursor = format!("/events/stream?cursor={cursor}");
    let (_other, mut first) =
        (service.follow("/events/stream", None).await, service.follow(&with_cursor, None).await);
    assert_eq!(first.numbers(397).await, (3..400).collect::<Vec<_>>(), "after the cursor");
    drop((_other, first));
    let mut again = service.follow(&with_cursor, Some("0-18e")).await;
    assert_eq!(again.next().await.unwrap(), "retry: 2000\nid: 0-18e");
    service.admit_all(400..402).await;
    assert_eq!(again.numbers(4).await, [398, 399, 400, 401], "the id counts, not the cursor");
    drop(again);
    let mut empty = service.follow("/events/stream", Some("")).await;
    service.admit_all(402..403).await;
    assert_eq!(empty.event().await.0, 402, "an empty id is none");
}

#[tokio::test(start_paused = true)]
async fn what_was_just_sent_is_sent_again_without_a_look_at_the_store() {
    let service = Service::new().with_partitions(&[0, 1]);
    let mut first = service.follow("/events/stream", None).await;
    for number in 0..9 {
        service.admit((number % 2) as i32, number as i64, event(number, "ann", "LOGIN")).await;
        sleep(Duration::from_secs(1)).await;
    }
    let mut cursors = Vec::new();
    for _ in 0..9 {
        cursors.push(first.event().await.1);
    }
    // The store forgets them; the messages are kept.
    service.store.forget(0).await.unwrap();
    let mut second = service.follow("/events/stream", Some(&cursors[3])).await;
    assert_eq!(second.numbers(5).await, [4, 5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn filters_hold_for_what_was_and_for_what_comes() {
    let admit = async |service: &Service, first: u128| {
        for (number, (user, event_type)) in
            (first..).zip([("ann", "LOGIN"), ("bob", "login"), ("ann", "LOGOUT"), ("ANN", "x")])
        {
            service.admit(0, number as i64, event(number, user, event_type)).await;
        }
    };
    for (query, found) in [
        ("userId=ann", vec![0, 2]),
        ("eventType=Login", vec![0, 1]),
        ("userId=ann&eventType=LOGOUT", vec![2]),
        ("from=2026-05-01T10:00:00Z&to=2026-05-01T10:00:00.001Z&userId=ANN", vec![3]),
        ("from=2026-05-01T10:00:00.001Z", vec![]),
        ("to=2026-05-01T10:00:00Z", vec![]),
    ] {
        let service = Service::new().with_partitions(&[0]);
        admit(&service, 0).await;
        let mut reading = service.follow(&format!("/events/stream?cursor=0-0&{query}"), None).await;
        reading.next().await.unwrap();
        assert_eq!(reading.numbers(found.len()).await, found, "{query}");
        sleep(Duration::from_secs(1)).await;
        admit(&service, 4).await;
        let later: Vec<u128> = found.iter().map(|number| number + 4).collect();
        assert_eq!(reading.numbers(found.len()).await, later, "{query}");
        let life = reading.next().await.unwrap();
        assert_eq!(life, ":\nid: 0-8", "{query}: the client is told what it passed over");
    }
}

#[tokio::test]
async fn what_is_not_for_a_stream_is_named() {
    let service = Service::new().with_partitions(&[0]);
    for (path, last, faults) in [
        ("/events/stream?order=asc&limit=7", "", &["order", "limit"][..]),
        ("/events/stream?userid=ann", "", &["userid"]),
        ("/events/stream?cursor=x&from=now", "", &["from", "cursor"]),
        ("/events/stream?cursor=0-1", "7", &["Last-Event-ID"]),
    ] {
        let answer = service.send(warp::test::request().path(path).header("last-event-id", last)).await;
        assert_eq!(answer.faults(), faults, "{path}");
    }
    assert!(service.get("/events/stream?limit=7").await.text().contains("it has no end"));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_a_stream_is_503_and_listings_are_answered() {
    let service = Service::new().with_partitions(&[0]);
    let metric = async |name: &str, value: u64| {
        let metrics = service.get("/metrics").await;
        assert!(
            metrics.text().contains(&format!("highwater_event_streams{name} {value}\n")),
            "{}",
            metrics.text()
        );
    };
    let (one, _two) =
        (service.follow("/events/stream", None).await, service.follow("/events/stream", None).await);
    let refused = service.get("/events/stream").await;
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    metric("", 2).await;
    metric("_refused_total", 1).await;
    service.get("/events/processed").await.ok(200);
    drop(one);
    metric("", 1).await;
    service.follow("/events/stream", None).await.next().await.unwrap();
    metric("", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_events_gives_a_sign_of_life_each_15_seconds() {
    let service = Service::new().with_partitions(&[0]);
    let mut reading = service.follow("/events/stream", None).await;
    reading.next().await.unwrap();
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(reading.next().await.unwrap(), ":");
        assert_eq!(begun.elapsed().as_secs(), 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_reason() {
    let service = Service::new().with_partitions(&[0]);
    let end = async |mut reading: Reading| {
        let begun = Instant::now();
        loop {
            let message = reading.next().await.unwrap();
            if let Some(data) = message.strip_prefix("event: end\ndata: ") {
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                assert!(
                    data["detail"].as_str().unwrap().ends_with("connect again with Last-Event-ID to go on")
                );
                assert_eq!(reading.next().await, None, "nothing follows");
                return (data["reason"].as_str().unwrap().to_owned(), begun.elapsed());
            }
        }
    };
    let (reason, after) = end(service.follow("/events/stream", None).await).await;
    assert_eq!((reason.as_str(), after.as_secs()), ("renewed", 15 * 60));

    let reading = service.follow("/events/stream", None).await;
    service.holds(&[0, 1]);
    let (reason, after) = end(reading).await;
    assert!(reason == "moved" && after < Duration::from_secs(2), "{reason}, {after:?}");

    let reading = service.follow("/events/stream", None).await;
    service.shutdown.advance(Stage::Draining);
    let (ended, ()) = join(end(reading), async {
        sleep(Duration::from_secs(1)).await;
        service.shutdown.advance(Stage::Closing);
    })
    .await;
    assert_eq!((ended.0.as_str(), ended.1.as_secs()), ("stopping", 1));
    assert_eq!(
        end(service.follow("/events/stream", None).await).await.0,
        "stopping",
        "one that comes then, too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_cut_off_with_a_word_and_misses_nothing() {
    const EVENTS: u128 = 400;
    let service = Service::new().with_partitions(&[0]);
    let large = RawValue::from_string(format!(r#"{{"x":"{}"}}"#, "x".repeat(60_000))).unwrap();
    let mut slow = service.follow("/events/stream", None).await;
    let mut quick = service.follow("/events/stream", None).await;
    for number in 0..EVENTS {
        let event = ActivityEvent::new(Uuid::from_u128(number), "ann", "A", chrono::Utc::now(), Some(&large));
        service.admit(0, number as i64, event).await;
        assert_eq!(quick.event().await.0, number);
        if number == 0 {
            assert_eq!(slow.event().await.0, 0);
        }
    }
    let mut seen = vec![0];
    let mut cursor = String::new();
    loop {
        let message = slow.next().await.unwrap();
        if message.starts_with("event: end") {
            assert!(message.contains("\"slow\""), "{message}");
            break;
        }
        let (id, _) = message.split_once("\ndata: ").unwrap();
        cursor = id.strip_prefix("id: ").unwrap().to_owned();
        seen.push(seen.len() as u128);
    }
    assert!(seen.len() < 10, "{} events were kept for it", seen.len());
    assert_eq!(slow.next().await, None);
    drop(slow);
    let last = if cursor.is_empty() { "0-1" } else { &cursor };
    let mut again = service.follow("/events/stream", Some(last)).await;
    assert_eq!(
        again.numbers(EVENTS as usize - seen.len()).await,
        (seen.len() as u128..EVENTS).collect::<Vec<_>>()
    );
    let metrics = service.get("/metrics").await;
    assert!(metrics.text().contains("highwater_event_streams_slow_total 1\n"), "{}", metrics.text());
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_when_the_events_of_before_are_restored() {
    let service = Service::new();
    let (mut reading, ()) = join(service.follow("/events/stream", None), async {
        sleep(Duration::from_secs(3)).await;
        service.admit_all(0..5).await;
        service.holds(&[0]);
    })
    .await;
    assert_eq!(reading.next().await.unwrap(), "retry: 2000\nid: 0-5");
    service.admit_all(5..6).await;
    assert_eq!(reading.event().await.0, 5);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_a_topic_that_was_made_anew_does_not_pass_over_its_events() {
    let service = Service::new().with_partitions(&[0]);
    service.admit_all(0..1).await;
    // Beyond the log's end, which is 1000.
    let mut reading = service.follow("/events/stream", Some("0-fffff")).await;
    service.admit_all(1000..1001).await;
    assert_eq!(reading.event().await.0, 1000);
    // Another instance may have given that one out.
    let mut reading = service.follow("/events/stream", Some("0-3e9-5-7")).await;
    assert_eq!(reading.next().await.unwrap(), "retry: 2000\nid: 0-3e9-5-7");
    service.admit_all(1001..1002).await;
    assert_eq!(reading.event().await, (1001, "0-3ea-5-7".to_owned()), "what is not here stays in the cursor");
    assert!(reading.event().now_or_never().is_none());
}
