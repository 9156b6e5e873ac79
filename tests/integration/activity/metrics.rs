//! `GET /metrics` of a service at work.

use std::collections::BTreeMap;

use serde_json::json;

use super::message;
use crate::support::{TestApp, TestCluster, eventually};

/// Each series with its value; fails at a line that is none.
pub(super) async fn scrape(app: &TestApp) -> BTreeMap<String, f64> {
    let text = app.get("/metrics").await.text().await.unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_produced_consumed_dead_and_stored_records_are_counted() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let posted = app.generate("user-1").await;
    app.generate_from(&json!({"userId": "user-1", "eventType": "LOGOUT", "eventId": posted.id})).await;
    assert_eq!(app.post("/events/generate", &json!({"userId": "user-1"})).await.status(), 400);
    let client = cluster.client();
    let elsewhere = client.producer(client.topic());
    highwater_kafka::Publisher::publish(&*elsewhere, message("user-1", "no event")).await.unwrap();
    cluster.until_committed_to_the_end().await;

    let topic = &cluster.topic;
    let expected = [
        (
            "highwater_http_requests_total{method=\"POST\",route=\"/events/generate\",status=\"201\"}"
                .to_owned(),
            2.0,
        ),
        (
            "highwater_http_requests_total{method=\"POST\",route=\"/events/generate\",status=\"400\"}"
                .to_owned(),
            1.0,
        ),
        (
            "highwater_http_request_duration_seconds_count{method=\"POST\",route=\"/events/generate\"}"
                .to_owned(),
            3.0,
        ),
        (format!("highwater_producer_records_total{{topic=\"{topic}\"}}"), 2.0),
        (format!("highwater_producer_batches_total{{topic=\"{topic}\"}}"), 2.0),
        (format!("highwater_producer_errors_total{{reason=\"queue_full\",topic=\"{topic}\"}}"), 0.0),
        (format!("highwater_producer_queue_records{{topic=\"{topic}\"}}"), 0.0),
        (format!("highwater_producer_records_total{{topic=\"{topic}.dlq\"}}"), 1.0),
        (format!("highwater_consumer_records_total{{topic=\"{topic}\"}}"), 3.0),
        ("highwater_consumer_duplicates_total".to_owned(), 1.0),
        ("highwater_consumer_conflicts_total".to_owned(), 1.0),
        (format!("highwater_dead_letters_total{{topic=\"{topic}\"}}"), 1.0),
        ("highwater_store_events".to_owned(), 1.0),
        (format!("highwater_consumer_lag{{partition=\"{}\",topic=\"{topic}\"}}", posted.partition), 0.0),
        ("highwater_ready".to_owned(), 1.0),
    ];
    eventually("the figures are reported", async || {
        let found = scrape(&app).await;
        let differ: Vec<_> = expected
            .iter()
            .filter(|(series, value)| found.get(series) != Some(value))
            .map(|(series, value)| format!("{series} is {:?}, not {value}", found.get(series)))
            .collect();
        differ.is_empty().then_some(())
    })
    .await;
    app.stop().await;
}
