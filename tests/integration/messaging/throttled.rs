//! Kafka throttles: a quota costs time, and nothing else.

use std::time::{Duration, Instant};

use futures::future::join_all;
use highwater::{embedded::Fault, messaging::Publisher};
use kafka_protocol::messages::ApiKey;

use super::producing::message;
use crate::support::{TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_throttling_broker_took_is_acknowledged_and_not_written_again() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    let throttle = Duration::from_millis(60);
    cluster.broker().faults().always(ApiKey::Produce, Fault::Throttle(throttle));

    let began = Instant::now();
    for number in 0..5 {
        producer.publish(message("k", format!("{number}"))).await.unwrap();
    }
    let waited = began.elapsed();
    assert!(waited >= throttle * 3, "{waited:?}");
    // Those that come while it waits go together.
    let batches = producer.figures().batches;
    let results = join_all((0..50).map(|number| producer.publish(message("k", format!("x{number}"))))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(producer.figures().batches <= batches + 3, "{:?}", producer.figures());

    let figures = producer.figures();
    assert!(figures.throttled > 0, "{figures:?}");
    assert_eq!(figures.retries, 0, "{figures:?}");
    assert_eq!(cluster.records(&cluster.topic).await.len(), 56);

    cluster.broker().faults().clear();
    let began = Instant::now();
    producer.publish(message("k", "last")).await.unwrap();
    producer.publish(message("k", "very last")).await.unwrap();
    assert!(began.elapsed() < throttle * 3, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_time_is_up_while_kafka_throttles_was_not_written() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = client.producer_within(client.topic(), Duration::from_millis(300));
    cluster.broker().faults().always(ApiKey::Produce, Fault::Throttle(Duration::from_secs(60)));
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    let told = producer.publish(message("k", "waits")).await.unwrap_err().to_string();
    assert!(told.contains("quota"), "{told}");
    assert_eq!(cluster.records(&cluster.topic).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_ends_while_kafka_throttles_it() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    cluster.broker().faults().always(ApiKey::Produce, Fault::Throttle(Duration::from_secs(600)));
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    let waits = producer.publish(message("k", "waits"));
    let (told, ()) = tokio::join!(waits, async {
        eventually("the record waits", async || (producer.figures().queued_records > 0).then_some(())).await;
        producer.close().await;
    });
    assert!(told.unwrap_err().to_string().contains("quota"));
}
