//! The limit of concurrent long listings.

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

use super::service::{Service, event, event_at};

#[tokio::test]
async fn a_search_that_finds_nothing_yields_to_other_tasks() {
    let service = Service::new();
    // Their times alternate between before and after the range that is asked for.
    let offer = |number: u128| {
        let then = Utc.with_ymd_and_hms(2026 + 200 * (number % 2) as i32, 5, 1, 10, 0, 0).unwrap();
        EventRecord { offset: number as i64, event: event_at(number, "ann", "LOGIN", then) }
    };
    service.store.admit(0, (0..99_000).map(offer).collect()).await.unwrap();
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
    let offer = |number: u128| EventRecord { offset: number as i64, event: event(number, "ann", "LOGIN") };
    service.store.admit(0, (0..3_000).map(offer).collect()).await.unwrap();
    service
}

#[tokio::test(start_paused = true)]
async fn long_listings_beyond_the_limit_are_503_and_short_ones_are_answered() {
    const LONG: &str = "/api/events?limit=3000";
    let service = with_many(ConcurrencyLimit::new(0)).await;
    let waiting = join_all((0..64).map(|_| service.get(LONG)));
    let began = tokio::time::Instant::now();
    let (waited, (others, took)) = join(waiting, async {
        // The paused clock advances only when all of them wait.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let began = tokio::time::Instant::now();
        let paths = [LONG, "/events/processed", "/api/events?limit=10&order=desc", "/api/events/user/bob"];
        (join_all(paths.map(|path| service.get(path))).await, began.elapsed())
    })
    .await;
    assert!(began.elapsed().as_millis() >= 1000 && took.is_zero(), "{:?} {took:?}", began.elapsed());
    for refused in waited.iter().chain(&others[..2]) {
        refused.problem(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(others[2].ok(200)["count"], 10);
    assert_eq!(others[3].ok(200)["count"], 0);
    let metrics = service.get("/metrics").await;
    assert!(metrics.text().contains("highwater_listings_refused_total 66\n"), "{}", metrics.text());
}

#[tokio::test]
async fn long_listings_wait_for_each_other_and_all_are_answered() {
    let service = with_many(ConcurrencyLimit::new(1)).await;
    let paths = ["/api/events?limit=3000", "/api/events", "/api/events?order=desc"];
    for answer in join_all((0..30).map(|number| service.get(paths[number % 3]))).await {
        assert_eq!(answer.ok(200)["count"], 3000);
    }
}
