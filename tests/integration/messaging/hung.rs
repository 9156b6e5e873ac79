//! A broker that hangs: its breaker opens, and closes when it answers again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use highwater_kafka::{BreakerState, Producer, ProducerConfig, PublishError, Publisher, Topic};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::producing::message;
use crate::support::{Client, TestCluster, eventually};

const PATIENCE: Duration = Duration::from_secs(2);
const BREAKER_AFTER: Duration = Duration::from_millis(300);

/// A producer that has written one record, to the partition of the key `k`.
async fn warm(client: &Client) -> Arc<Producer> {
    warm_within(client, PATIENCE).await
}

async fn warm_within(client: &Client, timeout: Duration) -> Arc<Producer> {
    warm_on(client, client.topic(), timeout).await
}

async fn warm_on(client: &Client, topic: Topic, timeout: Duration) -> Arc<Producer> {
    let config = ProducerConfig::default().with_timeout(timeout).with_breaker_after(BREAKER_AFTER);
    let (cluster, registry) = (Arc::clone(&client.cluster), Arc::clone(&client.registry));
    let producer = Arc::new(Producer::new(cluster, topic, config, registry));
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    producer
}

async fn publish(producer: &Producer) -> Result<Option<i64>, PublishError> {
    producer.publish(message("k", "v")).await.map(|receipt| receipt.offset)
}

/// The state of the one broker's breaker.
fn breaker(client: &Client) -> BreakerState {
    let status = client.registry.watch();
    let brokers = status.borrow().kafka.brokers.clone();
    assert_eq!(brokers.len(), 1, "{brokers:?}");
    brokers[0].breaker
}

async fn until(client: &Client, state: BreakerState) {
    eventually("the breaker turns", async || (breaker(client) == state).then_some(())).await;
}

fn is_refused(result: &Result<Option<i64>, PublishError>) -> bool {
    matches!(result, Err(PublishError::CircuitOpen(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_broker_hangs_what_is_published_is_refused_at_once_and_nothing_queues() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    assert_eq!(breaker(&client), BreakerState::Closed);
    cluster.broker().faults().always(ApiKey::Produce, Fault::Stall);
    cluster.broker().faults().always(ApiKey::ApiVersions, Fault::Stall);
    let requests = cluster.broker().faults().count(ApiKey::Produce);

    let began = Instant::now();
    let first = tokio::spawn({
        let producer = Arc::clone(&producer);
        async move { publish(&producer).await }
    });
    eventually("it is on its way", async || {
        (cluster.broker().faults().count(ApiKey::Produce) > requests).then_some(())
    })
    .await;
    // They wait behind it, and not until their own time is up.
    let behind = join_all((0..5).map(|_| publish(&producer))).await;
    assert!(behind.iter().all(is_refused), "{behind:?}");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(breaker(&client), BreakerState::Open);

    let began = Instant::now();
    let refused = join_all((0..100).map(|_| publish(&producer))).await;
    assert!(refused.iter().all(is_refused), "{refused:?}");
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    eventually("nothing but the first waits", async || {
        (producer.metrics().queued_records <= 1).then_some(())
    })
    .await;
    let metrics = producer.metrics();
    assert!(metrics.errors.contains(&("circuit_open", 105)), "{metrics:?}");
    assert!(matches!(first.await.unwrap(), Err(PublishError::Unavailable { possibly_written: true, .. })));

    cluster.broker().faults().clear();
    eventually("it is written again", async || publish(&producer).await.ok()).await;
    assert_eq!(breaker(&client), BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_can_be_reached_again_gets_one_record_to_see_whether_it_writes() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    // It can be reached all along, and writes nothing.
    cluster.broker().faults().always(ApiKey::Produce, Fault::Stall);
    publish(&producer).await.unwrap_err();
    until(&client, BreakerState::HalfOpen).await;
    let many = join_all((0..20).map(|_| publish(&producer))).await;
    let probes = many.iter().filter(|result| !is_refused(result)).count();
    assert_eq!(probes, 1, "{many:?}");
    assert!(many.iter().all(Result::is_err), "{many:?}");

    until(&client, BreakerState::HalfOpen).await;
    cluster.broker().faults().clear();
    eventually("a probe is acknowledged", async || publish(&producer).await.ok()).await;
    assert_eq!(breaker(&client), BreakerState::Closed);
    let all = join_all((0..20).map(|_| publish(&producer))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_in_which_nobody_published_a_burst_is_taken_whole() {
    let mut cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    cluster.embedded.as_mut().unwrap().suspend();
    eventually("its breaker opens", async || {
        let _refused = publish(&producer).await;
        (breaker(&client) == BreakerState::Open).then_some(())
    })
    .await;
    cluster.embedded.as_mut().unwrap().resume().await.unwrap();
    eventually("it is found again", async || (breaker(&client) != BreakerState::Open).then_some(())).await;
    // Longer ago than the wait for a hung broker: the outage must not count against the next requests.
    tokio::time::sleep(BREAKER_AFTER).await;
    let all = join_all((0..60).map(|_| publish(&producer))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(breaker(&client), BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_does_not_count_against_what_is_published_the_moment_it_is_over() {
    let mut cluster = TestCluster::embedded().await;
    let client = cluster.client();
    // All brokers count as away before the breaker opens.
    let config = ProducerConfig::default()
        .with_timeout(Duration::from_secs(20))
        .with_breaker_after(Duration::from_secs(3));
    let (way, registry) = (Arc::clone(&client.cluster), Arc::clone(&client.registry));
    let producer = Arc::new(Producer::new(way, client.topic(), config, registry));
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    cluster.embedded.as_mut().unwrap().suspend();
    let away = publish(&producer).await;
    assert!(matches!(away, Err(PublishError::Unavailable { .. })), "{away:?}");
    assert_eq!(breaker(&client), BreakerState::Closed);
    // Longer than a hung broker is waited for, and until its queue seldom looks for it by itself.
    tokio::time::sleep(Duration::from_millis(3_500)).await;

    cluster.embedded.as_mut().unwrap().resume().await.unwrap();
    cluster.broker().faults().always(ApiKey::Produce, Fault::Delay(Duration::from_millis(200)));
    let all = join_all((0..60).map(|_| publish(&producer))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(breaker(&client), BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_does_not_hang_and_a_missing_leader_is_waited_for() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm_within(&client, PATIENCE * 5).await;
    for error in [ResponseError::NotLeaderOrFollower, ResponseError::LeaderNotAvailable] {
        cluster.broker().faults().always(ApiKey::Produce, Fault::Refuse(error));
        let waiting = tokio::spawn({
            let producer = Arc::clone(&producer);
            async move { publish(&producer).await }
        });
        let tries = cluster.broker().faults().count(ApiKey::Produce) + 4;
        eventually("it is tried for longer than a hung broker would be", async || {
            (cluster.broker().faults().count(ApiKey::Produce) >= tries).then_some(())
        })
        .await;
        assert_eq!(breaker(&client), BreakerState::Closed);
        cluster.broker().faults().clear();
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_shut_by_the_failure_of_another_finds_its_broker_again_when_that_other_is_gone() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let other = warm_on(&client, client.dead_letter_topic(), PATIENCE).await;
    let producer = warm(&client).await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::Stall);
    cluster.broker().faults().always(ApiKey::ApiVersions, Fault::Stall);
    let failed = publish(&other).await;
    assert!(failed.is_err(), "{failed:?}");
    assert!(is_refused(&publish(&producer).await), "the broker is the same");
    // Its partition has gone to another leader, say: no failing queue is left.
    other.close().await;
    drop(other);

    cluster.broker().faults().clear();
    eventually("it takes records again", async || publish(&producer).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lets_one_call_after_another_time_out_hangs_since_the_first() {
    let cluster = TestCluster::embedded().await;
    let request_timeout = Duration::from_millis(1_000);
    let client = cluster.client_within(request_timeout);
    // The second call is under way when the breaker opens, and no call is as old.
    let config = ProducerConfig::default()
        .with_timeout(Duration::from_secs(20))
        .with_breaker_after(request_timeout * 3 / 2);
    let (way, registry) = (Arc::clone(&client.cluster), Arc::clone(&client.registry));
    let producer = Arc::new(Producer::new(way, client.topic(), config, registry));
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::Stall);
    let waiting = tokio::spawn({
        let producer = Arc::clone(&producer);
        async move { publish(&producer).await }
    });
    until(&client, BreakerState::Open).await;
    assert_eq!(producer.metrics().retries, 1, "the second call is still under way");
    cluster.broker().faults().clear();
    waiting.await.unwrap().unwrap();
}
