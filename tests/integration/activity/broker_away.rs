//! Kafka goes away and comes back; the service stays.

use std::{
    io,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::restarting::each_once;
use crate::support::{TestApp, TestCluster, eventually};

fn login() -> Value {
    json!({"userId": "user-1", "eventType": "LOGIN"})
}

async fn resume(cluster: &mut TestCluster) -> io::Result<()> {
    cluster.embedded.as_mut().unwrap().resume().await
}

fn suspend(cluster: &mut TestCluster) {
    cluster.embedded.as_mut().unwrap().suspend();
}

#[tokio::test(flavor = "multi_thread")]
async fn started_without_kafka_it_says_so_and_works_once_kafka_is_there() {
    let mut cluster = TestCluster::embedded().await;
    suspend(&mut cluster);
    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "300ms")]).await;
    assert_eq!(app.get("/health").await.status(), StatusCode::OK);
    assert_eq!(app.get("/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.processed().await, [""; 0]);
    let refused = app.post("/events/generate", &login()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["possiblyWritten"], false, "{problem}");
    assert!(problem["eventId"].is_string());
    let health = app.read("/health").await;
    assert_eq!(health["kafka"]["connected"], false);
    assert!(health["kafka"]["error"].is_string());

    resume(&mut cluster).await.unwrap();
    app.until_ready().await;
    let posted = app.generate("user-1").await;
    app.until_processed(&posted.id).await;
    assert_eq!(app.processed().await, [posted.id]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refused_post_it_is_ready_again_without_another() {
    let mut cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "300ms")]).await;
    app.until_ready().await;
    app.generate("user-1").await;
    suspend(&mut cluster);
    let refused = app.post("/events/generate", &login()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    eventually("it is not ready", async || {
        (app.get("/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    // A load balancer sends nothing to a service that is not ready.
    resume(&mut cluster).await.unwrap();
    app.until_ready().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kafka_costs_no_acknowledged_event() {
    let mut cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "500ms")]).await;
    app.until_ready().await;
    let load = app.load();
    for _ in 0..2 {
        load.until_acknowledged(load.acknowledged() + 200).await;
        let refused = load.refused();
        suspend(&mut cluster);
        eventually("posts are refused", async || (load.refused() > refused).then_some(())).await;
        eventually("it is not ready", async || {
            (app.get("/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
        })
        .await;
        resume(&mut cluster).await.unwrap();
        load.until_acknowledged(load.acknowledged() + 200).await;
    }
    let acknowledged = load.end().await;
    app.until_ready().await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_kafka_ends_in_time() {
    let mut cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(100).await;
    suspend(&mut cluster);
    app.stop().await;
    let acknowledged = load.end().await;

    resume(&mut cluster).await.unwrap();
    let app = TestApp::ready(&cluster).await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_broker_closed_while_idle_costs_nothing() {
    let mut cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for _ in 0..3 {
        posted.push(app.generate("user-1").await.id);
        cluster.until_committed_to_the_end().await;
        // Every connection breaks, none for longer than it takes to connect again.
        suspend(&mut cluster);
        resume(&mut cluster).await.unwrap();
    }
    let began = Instant::now();
    posted.push(app.generate("user-1").await.id);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    app.until_processed(&posted[3]).await;
    assert_eq!(app.processed().await, posted);
    app.stop().await;
}
