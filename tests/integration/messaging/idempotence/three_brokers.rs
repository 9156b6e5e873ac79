//! Leaders that die and hang, on a cluster of three brokers that TEST_KAFKA_BROKERS names.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use highwater_kafka::ProducerConfig;

use super::{assert_each_once, producer, publish};
use crate::support::{Disturbed, eventually, may_disturb, three_brokers};

/// As long as Kafka takes to see that a broker is gone: 9 s by KRaft, 18 s by ZooKeeper.
const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_or_hangs_in_the_middle_of_producing_leaves_each_record_in_the_log_once() {
    if !may_disturb() {
        return;
    }
    let Some(cluster) = three_brokers().await else { return };
    let client = cluster.client();
    let config = ProducerConfig::default().with_timeout(PATIENT).with_breaker_after(PATIENT);
    let producer = producer(&client, config);
    publish(&producer, "first").await.unwrap();
    let (written, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let posting = (0..8).map(|task| {
        let (producer, written, ends) = (Arc::clone(&producer), Arc::clone(&written), Arc::clone(&ends));
        tokio::spawn(async move {
            let mut receipts = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let value = format!("{task}/{}", receipts.len());
                receipts.push((value.clone(), publish(&producer, value).await.unwrap()));
                written.fetch_add(1, Ordering::Relaxed);
            }
            receipts
        })
    });
    let posting: Vec<_> = posting.collect();
    let more_are_written = async || {
        let enough = written.load(Ordering::Relaxed) + 200;
        eventually("more are written", async || (written.load(Ordering::Relaxed) >= enough).then_some(()))
            .await;
    };
    for disturbed in [Disturbed::killed, Disturbed::paused] {
        more_are_written().await;
        let leader = cluster.leader_of(0).await;
        let disturbed = disturbed(&cluster, leader);
        eventually("another leads", async || (cluster.leader_of(0).await != leader).then_some(())).await;
        more_are_written().await;
        // A broker that hung finds the requests that were sent to it, and takes itself for the leader.
        drop(disturbed);
        more_are_written().await;
    }
    ends.store(true, Ordering::Relaxed);
    let written = join_all(posting).await.into_iter().map(Result::unwrap);
    let written: Vec<_> = written
        .inspect(|of_task| assert!(of_task.is_sorted_by_key(|(_, receipt)| receipt.offset), "{of_task:?}"))
        .flatten()
        .collect();
    assert_each_once(&cluster, &written).await;
}
