//! The limit of concurrent listings.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{TimeZone, Utc};
use futures::future::{join, join_all};
use highwater::{
    activity::ConcurrencyLimit,
    store::{EventRecord, EventStore as _},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::service::{Answer, Service, event, event_at};

#[tokio::test]
async fn a_search_that_finds_nothing_yields_to_other_tasks() {
    let service = Service::new();
    // Their times alternate between before and after the range that is asked for.
    let offer = |number: u128| {
        let then = Utc.with_ymd_and_hms(2026 + 200 * (number % 2) as i32, 5, 1, 10, 0, 0).unwrap();
        EventRecord { offset: number as i64, written_at: 0, event: event_at(number, "ann", "LOGIN", then) }
    };
    service.store.admit(0, (0..99_000).map(offer).collect(), 0.into()).await.unwrap();
    let yields = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&yields);
    let others = tokio::spawn(async move {
        loop {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for path in [
        "/events/processed?from=2100-01-01T00:00:00Z&to=2101-01-01T00:00:00Z",
        "/api/events?from=2100-01-01T00:00:00Z&to=2101-01-01T00:00:00Z&limit=10",
    ] {
        let before = yields.load(Ordering::Relaxed);
        service.get(path).await.ok(200);
        let had = yields.load(Ordering::Relaxed) - before;
        assert!(had >= 3, "{had} yields while 99,000 events were compared: {path}");
    }
    others.abort();
}

/// A service with more events than one read of the store returns.
async fn with_many(limit: ConcurrencyLimit) -> Service {
    let service = Service { listing_limit: Arc::new(limit), ..Service::new() };
    let offer = |number: u128| EventRecord {
        offset: number as i64,
        written_at: 0,
        event: event(number, "ann", "LOGIN"),
    };
    service.store.admit(0, (0..3_000).map(offer).collect(), 0.into()).await.unwrap();
    service
}

/// The answer is 503 and tells when to try again.
fn is_refused(answer: &Answer) {
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_listings_waits_or_is_503_at_once_and_posts_are_answered() {
    const SHORT: &str = "/api/events?limit=10";
    let service = with_many(ConcurrencyLimit::new(0)).await;
    let began = Instant::now();
    let burst = join_all((0..4_096).map(|_| service.get(SHORT)));
    let (burst, ()) = join(burst, async {
        // The paused clock advances only when all of them wait.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = Instant::now();
        is_refused(&service.get(SHORT).await);
        service.post("/events/generate", r#"{"userId":"ann","eventType":"LOGIN"}"#).await.ok(201);
        service.get(&format!("/events/processed/{}", Uuid::from_u128(7))).await.ok(200);
        assert!(now.elapsed().is_zero(), "{:?}", now.elapsed());
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    burst.iter().for_each(is_refused);
    let metrics = service.get("/metrics").await;
    assert!(metrics.text().contains("highwater_listings_refused_total 4097\n"), "{}", metrics.text());
}

#[tokio::test]
async fn long_listings_are_503_where_too_many_wait_to_go_on() {
    let service = with_many(ConcurrencyLimit::new(1)).await;
    let answers = join_all((0..200).map(|_| service.get("/api/events?limit=3000"))).await;
    let (whole, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
    assert!(whole.len() >= 64 && !refused.is_empty(), "{} whole, {} refused", whole.len(), refused.len());
    whole.into_iter().for_each(|answer| assert_eq!(answer.ok(200)["count"], 3000));
    refused.into_iter().for_each(is_refused);
}

#[tokio::test]
async fn long_listings_wait_for_each_other_and_all_are_answered() {
    let service = with_many(ConcurrencyLimit::new(1)).await;
    let paths = ["/api/events?limit=3000", "/api/events", "/api/events?order=desc"];
    for answer in join_all((0..30).map(|number| service.get(paths[number % 3]))).await {
        assert_eq!(answer.ok(200)["count"], 3000);
    }
}
