//! A service that was stopped, or killed, and is started again on the same cluster.

use std::collections::HashMap;

use crate::support::{TestApp, TestCluster, processed_lines};

/// Fails unless every one of these events is there, and nothing is there twice.
pub(super) fn each_once(processed: &[String], expected: &[String]) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for id in processed {
        *times.entry(id).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "something is stored twice");
    let missing = expected.iter().filter(|id| !times.contains_key(id.as_str())).count();
    assert_eq!(missing, 0, "of {} events", expected.len());
}

/// The ids of a listing's events, in its order.
async fn ids(listing: reqwest::Response) -> Vec<String> {
    let events: Vec<serde_json::Value> = listing.json().await.unwrap();
    events.iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_stop_every_event_is_there_again_and_none_is_processed_again() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for number in 0..60 {
        posted.push(app.generate(&format!("user-{}", number % 7)).await.id);
    }
    for id in &posted {
        app.until_processed(id).await;
    }
    let first_page = app.get("/events/processed?limit=10").await;
    let next = first_page.headers()["link"].to_str().unwrap().to_owned();
    let next = next[next.find("/events").unwrap()..next.find('>').unwrap()].to_owned();
    let mut paged = ids(first_page).await;
    app.stop().await;
    assert_eq!(cluster.committed().await, cluster.ends().await);

    let app = TestApp::ready(&cluster).await;
    let processed = app.processed().await;
    each_once(&processed, &posted);
    assert_eq!(processed.len(), posted.len());
    // The cursor of the process before goes on where its page ended.
    paged.extend(ids(app.get(&next.replace("limit=10", "limit=100")).await).await);
    each_once(&paged, &posted);
    assert_eq!(paged.len(), posted.len());
    let later = app.generate("user-1").await;
    app.until_processed(&later.id).await;
    assert!(posted.iter().all(|id| processed_lines::of(id) == 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_and_started_again_it_has_every_acknowledged_event_once() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(500).await;
    app.kill();
    let acknowledged = load.end().await;
    assert!(acknowledged.len() >= 500);

    let app = TestApp::ready(&cluster).await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    assert_eq!(app.read("/api/events").await["count"], cluster.ends().await.values().sum::<i64>());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_committed_before_a_kill_are_not_processed_again() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for _ in 0..20 {
        posted.push(app.generate("user-1").await.id);
    }
    cluster.until_committed_to_the_end().await;
    app.kill();
    let app = TestApp::ready(&cluster).await;
    let later = app.generate("user-1").await;
    app.until_processed(&later.id).await;
    posted.push(later.id);
    assert_eq!(app.processed().await, posted);
    assert!(posted.iter().all(|id| processed_lines::of(id) == 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_under_load_it_keeps_every_event_it_acknowledged_and_processes_none_twice() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(500).await;
    app.stop().await;
    let acknowledged = load.end().await;
    // The last records may be unread. Processed ones are committed, as the assertions below show.
    let records = cluster.records(&cluster.topic).await;
    let written: Vec<String> = records
        .iter()
        .map(|(_, record)| {
            let event: serde_json::Value =
                serde_json::from_slice(record.record.value.as_deref().unwrap()).unwrap();
            event["eventId"].as_str().unwrap().to_owned()
        })
        .collect();
    each_once(&written, &acknowledged);

    let app = TestApp::ready(&cluster).await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    assert!(written.iter().all(|id| processed_lines::of(id) == 1), "none is processed again");
    app.stop().await;
}
