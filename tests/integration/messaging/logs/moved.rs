//! Logs whose start or end moves while they are read.

use std::sync::Arc;

use highwater_kafka::OffsetReset;
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::{WHOLE, read_all};
use crate::support::{Batch, Recorder, TestCluster, eventually};

/// Has a group commit offset 10 of 10, changes the log, and has a new member read on.
async fn read_on(change: impl Fn(&TestCluster), reset: OffsetReset) -> (TestCluster, Vec<String>) {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    for value in 0..10 {
        cluster.produce(0, Batch::of(&[value.to_string()]).encode()).await;
    }
    assert_eq!(read_all(&cluster, 1, WHOLE).await.len(), 10);
    change(&cluster);
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let mut config = client.consumer_config();
    config.offset_reset = reset;
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    cluster.reaches_lag_0(1).await;
    let asked = cluster.broker().faults().count(ApiKey::ListOffsets);
    cluster.produce(0, Batch::of(&["new"]).encode()).await;
    eventually("it goes on", async || recorder.values().contains(&"new".to_owned()).then_some(())).await;
    let asked = cluster.broker().faults().count(ApiKey::ListOffsets) - asked;
    assert!(asked == 0, "the range is asked for once, not over and over");
    consumer.stop().await;
    (cluster, recorder.values())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_committed_offset_is_gone_reading_starts_at_the_logs_new_start() {
    let gone = |cluster: &TestCluster| {
        let topic = cluster.topic.clone();
        for value in 10..15 {
            let batch = Batch::of(&[value.to_string()]).encode();
            cluster.broker().append_raw(&topic, 0, batch).unwrap();
        }
        cluster.broker().delete_records_before(&topic, 0, 12);
    };
    let (_, values) = read_on(gone, OffsetReset::Earliest).await;
    assert_eq!(values, ["12", "13", "14", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_logs_end_went_back_reading_goes_on_by_rule() {
    let truncated = |cluster: &TestCluster| cluster.broker().truncate(&cluster.topic, 0, 3);
    let (_, values) = read_on(truncated, OffsetReset::Earliest).await;
    assert_eq!(values, ["0", "1", "2", "new"]);
    let (cluster, values) = read_on(truncated, OffsetReset::Latest).await;
    assert_eq!(values, ["new"]);
    assert_eq!(cluster.end_of(0).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shrinks_under_its_reader_is_read_on() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    for value in ["1", "2", "3"] {
        cluster.produce(0, Batch::of(&[value]).encode()).await;
    }
    eventually("it is read", async || (recorder.count() == 3).then_some(())).await;
    cluster.broker().truncate(&cluster.topic, 0, 1);
    eventually("it starts again at the beginning", async || (recorder.count() == 4).then_some(())).await;
    cluster.produce(0, Batch::of(&["4"]).encode()).await;
    eventually("it goes on", async || (recorder.count() == 5).then_some(())).await;
    assert_eq!(recorder.values(), ["1", "2", "3", "1", "4"]);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_a_broker_that_lags_calls_an_offset_out_of_range_nothing_is_skipped_or_read_again() {
    for offset_reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        let cluster = TestCluster::embedded().await;
        cluster.create_topic(1, &[]).await;
        cluster.produce(0, Batch::of(&["1", "2", "3"]).encode()).await;
        let client = cluster.client();
        let recorder = Arc::new(Recorder::default());
        let config = client.consumer_config().with_offset_reset(offset_reset);
        let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
        cluster.reaches_lag_0(1).await;
        let before = recorder.count();

        let faults = cluster.broker().faults();
        faults.always(ApiKey::Fetch, Fault::Refuse(ResponseError::OffsetOutOfRange));
        cluster.produce(0, Batch::of(&["while it lags"]).encode()).await;
        let asked = faults.count(ApiKey::Fetch);
        eventually("it asks again", async || (faults.count(ApiKey::Fetch) > asked + 3).then_some(())).await;
        faults.clear();
        cluster.produce(0, Batch::of(&["after"]).encode()).await;
        eventually("it goes on", async || recorder.values().contains(&"after".to_owned()).then_some(()))
            .await;
        assert_eq!(recorder.values()[before..], ["while it lags", "after"], "{offset_reset:?}");
        consumer.stop().await;
    }
}
