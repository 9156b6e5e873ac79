//! Throttling: a quota costs time and nothing else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use highwater_kafka::Publisher;
use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;

use super::{group::status_of, producing::message};
use crate::support::{Recorder, TestCluster, eventually};

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
    // Records that arrive during the wait are sent together.
    let batches = producer.metrics().batches;
    let results = join_all((0..50).map(|number| producer.publish(message("k", format!("x{number}"))))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(producer.metrics().batches <= batches + 3, "{:?}", producer.metrics());

    let metrics = producer.metrics();
    assert!(metrics.throttled > 0, "{metrics:?}");
    assert_eq!(metrics.retries, 0, "{metrics:?}");
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
        eventually("the record waits", async || (producer.metrics().queued_records > 0).then_some(())).await;
        producer.close().await;
    });
    assert!(told.unwrap_err().to_string().contains("quota"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_kafka_throttles_waits_and_finds_nothing_wrong_with_the_log() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let producer = client.producer(client.topic());
    producer.publish(message("k", "before")).await.unwrap();
    eventually("it is read", async || (recorder.count() == 1).then_some(())).await;

    let faults = cluster.broker().faults();
    faults.always(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(100)));
    let asks_on = async || {
        let before = faults.count(ApiKey::Fetch);
        eventually("it asks again and again", async || {
            let status = status_of(&client);
            let wrong = status.partitions.iter().find_map(|partition| partition.error.clone());
            assert_eq!(wrong, None);
            (faults.count(ApiKey::Fetch) > before + 18).then_some(())
        })
        .await;
    };
    // Until none is under way that began before.
    asks_on().await;
    producer.publish(message("k", "throttled")).await.unwrap();
    asks_on().await;
    assert_eq!(recorder.count(), 1);
    faults.clear();
    eventually("it is read", async || (recorder.count() == 2).then_some(())).await;
    consumer.stop().await;
}
