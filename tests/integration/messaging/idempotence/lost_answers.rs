//! Answers that get lost on the way, on any cluster.

use std::time::Duration;

use futures::future::join_all;
use highwater_kafka::ProducerConfig;

use super::{assert_each_once, heads, producer, publish};
use crate::support::{Loss, TestCluster, three_brokers};

/// The number and the size of the records: as one batch they are too large for the topic.
const RECORDS: usize = 70;
const SIZE: usize = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_batch_that_was_too_large_are_in_the_log_once_over_broken_and_silent_connections() {
    let cluster = TestCluster::start().await;
    // Half of the answers do not arrive, refusals among them.
    let losing = cluster
        .losing(|answer| match answer % 6 {
            1 | 3 => Some(Loss::Broken),
            5 => Some(Loss::Silent),
            _ => None,
        })
        .await;
    let client = losing.client_within(Duration::from_secs(1));
    let config =
        ProducerConfig::default().with_batch_max_bytes(8 << 20).with_timeout(Duration::from_secs(60));
    let producer = producer(&client, config);
    publish(&producer, "first").await.unwrap();
    let values = (0..RECORDS).map(|number| format!("{number:-<SIZE$}"));
    let published = values.map(async |value| (value.clone(), publish(&producer, value).await.unwrap()));
    let written = join_all(published).await;
    assert_each_once(&cluster, &written).await;
    assert!(written.is_sorted_by_key(|(_, receipt)| receipt.offset), "the order is that of the calls");
    assert!(producer.metrics().retries >= 5, "answers were lost: {:?}", producer.metrics());
    let log = heads(&cluster).await;
    let largest = log.iter().map(|(.., records)| *records).max();
    assert!(largest > Some(1) && largest < Some(RECORDS as i32), "it was split: {log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_move_while_answers_are_lost_have_each_record_once() {
    let Some(cluster) = three_brokers().await else { return };
    let losing = cluster.losing(|answer| (answer % 5 == 1).then_some(Loss::Broken)).await;
    let client = losing.client_within(Duration::from_secs(1));
    let producer = producer(&client, ProducerConfig::default().with_timeout(Duration::from_secs(60)));
    publish(&producer, "first").await.unwrap();
    let mut written = Vec::new();
    for round in 0..3 {
        let moving = cluster.move_leader(0);
        let publishing = async {
            for number in 0..50 {
                let value = format!("{round}/{number}");
                let receipt = publish(&producer, value.clone()).await.unwrap();
                written.push((value, receipt));
            }
        };
        tokio::join!(moving, publishing);
    }
    assert!(producer.metrics().retries >= 5, "answers were lost: {:?}", producer.metrics());
    assert_each_once(&cluster, &written).await;
}
