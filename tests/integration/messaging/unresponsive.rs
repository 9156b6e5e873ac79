//! Handlers that do not answer what the consumer tells them, and members whose coordinator is slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use highwater_kafka::{BatchOutcome, GroupPhase, Publisher, Record, RecordHandler, group::GroupProtocol};
use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;

use super::{
    group::{partitions_of, share, status_of},
    producing::message,
};
use crate::support::{Recorder, TestCluster, eventually};

/// As [`Recorder`], and does not return from what it is told until it is released.
struct Unresponsive {
    recorder: Recorder,
    takes_partition_count: bool,
    forgets: bool,
    was_asked_to_forget: AtomicBool,
    released: watch::Sender<bool>,
}

impl Unresponsive {
    fn new(takes_partition_count: bool, forgets: bool) -> Arc<Self> {
        let (recorder, was_asked_to_forget) = Default::default();
        let released = watch::Sender::new(false);
        Arc::new(Self { recorder, takes_partition_count, forgets, was_asked_to_forget, released })
    }

    async fn released(&self) {
        self.released.subscribe().wait_for(|released| *released).await.unwrap();
    }
}

#[async_trait]
impl RecordHandler for Unresponsive {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        self.recorder.handle(records).await
    }

    async fn partition_count_changed(&self, _partitions: usize) {
        if !self.takes_partition_count {
            self.released().await;
        }
    }

    fn restore_window(&self) -> u64 {
        1
    }

    async fn forget(&self, _partition: i32) {
        self.was_asked_to_forget.store(true, Ordering::SeqCst);
        if !self.forgets {
            self.released().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_take_the_number_of_partitions_holds_up_its_records_and_no_membership() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let handler = Unresponsive::new(false, true);
    let consumer = client.consumer(Arc::clone(&handler) as _);
    client.producer(client.topic()).publish(message("k", "v")).await.unwrap();
    eventually("it has all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    assert_eq!(handler.recorder.count(), 0);
    handler.released.send_replace(true);
    eventually("it works", async || (handler.recorder.count() == 1).then_some(())).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_forget_a_partition_holds_up_no_commit_for_long() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let handler = Unresponsive::new(true, false);
    let config = one
        .consumer_config()
        .with_protocol(GroupProtocol::Classic)
        .with_rebalance_timeout(Duration::from_secs(6));
    let consumer_one = one.consumer_with(Arc::clone(&handler) as _, config.clone());
    eventually("it has all", async || (partitions_of(&one).len() == 3).then_some(())).await;
    cluster.reaches_lag_0(3).await;
    let consumer_two = two.consumer_with(Arc::new(Recorder::default()), config);
    share(&one, &two).await;
    let asked = || handler.was_asked_to_forget.load(Ordering::SeqCst);
    eventually("it is to forget what it had", async || asked().then_some(())).await;
    let producer = one.producer(one.topic());
    for number in 0..30 {
        producer.publish(message(&format!("user-{number}"), "v")).await.unwrap();
    }
    cluster.reaches_lag_0(3).await;
    consumer_two.stop().await;
    consumer_one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_out_while_the_assignment_is_waited_for() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client_within(Duration::from_secs(30));
    let faults = cluster.broker().faults();
    faults.once(ApiKey::SyncGroup, Fault::Stall);
    let consumer = client.consumer(Arc::new(Recorder::default()));
    eventually("it sends heartbeats", async || (faults.count(ApiKey::Heartbeat) >= 2).then_some(())).await;
    assert_eq!(status_of(&client).phase, GroupPhase::Syncing);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_is_told_why_a_member_leaves() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let config = client.consumer_config().with_max_processing(Duration::from_millis(300));
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    client.producer(client.topic()).publish(message("k", "hang")).await.unwrap();
    let reasons = || cluster.broker().leave_reasons(&cluster.group);
    eventually("it leaves", async || (reasons().len() == 1).then_some(())).await;
    recorder.end_trouble();
    eventually("it is back", async || (partitions_of(&client).len() == 3).then_some(())).await;
    consumer.stop().await;
    assert_eq!(reasons(), ["consumer poll timeout has expired.", "the consumer is being closed"]);
}
