//! Logs whose start or end moves while they are read.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use highwater_kafka::{
    BatchOutcome, Consumer, FetchPosition, LogState, OffsetReset, Record, RecordHandler, StartFrom,
    TransientError,
};
use highwater_kafka_broker::{Fault, Options};
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::{WHOLE, read_all};
use crate::support::{Batch, Client, Recorder, TestCluster, eventually};

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
async fn where_the_logs_end_went_back_reading_goes_on_at_what_is_left_whatever_the_rule() {
    let truncated = |cluster: &TestCluster| cluster.broker().truncate(&cluster.topic, 0, 3);
    for reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        let (cluster, values) = read_on(truncated, reset).await;
        assert_eq!(values, ["new"], "{reset:?}");
        assert_eq!(cluster.end_of(0).await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_committed_offset_is_of_another_history_reading_goes_on_where_that_began() {
    let rewritten = |cluster: &TestCluster| {
        cluster.broker().truncate(&cluster.topic, 0, 3);
        for value in 0..12 {
            let batch = Batch::of(&[format!("other-{value}")]).encode();
            cluster.broker().append_raw(&cluster.topic, 0, batch).unwrap();
        }
    };
    for reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        let (_, values) = read_on(rewritten, reset).await;
        assert_eq!(values.len(), 13, "{values:?}");
        assert_eq!(values.first().map(String::as_str), Some("other-0"));
    }
}

/// A consumer that has read three records, of which the log loses two before it asks again.
async fn truncated_behind_its_back(
    cluster: &TestCluster,
    written: &[&str],
) -> (Client, Arc<Recorder>, Consumer) {
    cluster.create_topic(1, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    for value in ["1", "2", "3"] {
        cluster.produce(0, Batch::of(&[value]).encode()).await;
    }
    cluster.reaches_lag_0(1).await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::Fetch, Fault::Drop);
    let asked = faults.count(ApiKey::Fetch);
    eventually("no fetch is held", async || (faults.count(ApiKey::Fetch) > asked + 1).then_some(())).await;
    cluster.broker().truncate(&cluster.topic, 0, 1);
    for value in written {
        cluster.broker().append_raw(&cluster.topic, 0, Batch::of(&[value]).encode()).unwrap();
    }
    faults.clear();
    (client, recorder, consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_truncated_and_written_past_its_reader_is_read_from_where_it_diverged() {
    let cluster = TestCluster::embedded().await;
    let (client, recorder, consumer) = truncated_behind_its_back(&cluster, &["a", "b", "c", "d"]).await;
    eventually("it is read", async || (recorder.count() == 7).then_some(())).await;
    assert_eq!(recorder.values(), ["1", "2", "3", "a", "b", "c", "d"]);
    assert_eq!(recorder.truncated_offsets(), [(0, 1..3)]);
    let notices = client.registry.watch().borrow().kafka.notices.clone();
    assert!(notices.iter().any(|notice| notice.text.contains("offsets 1 to 2")), "{notices:?}");
    cluster.reaches_lag_0(1).await;
    assert_eq!(cluster.committed_epoch_of(0).await, 1);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shrinks_under_its_reader_is_read_on_at_its_end() {
    let cluster = TestCluster::embedded().await;
    let (_client, recorder, consumer) = truncated_behind_its_back(&cluster, &[]).await;
    eventually("it is told", async || (recorder.truncated_offsets() == [(0, 1..3)]).then_some(())).await;
    cluster.produce(0, Batch::of(&["4"]).encode()).await;
    eventually("it goes on", async || (recorder.count() == 4).then_some(())).await;
    assert_eq!(recorder.values(), ["1", "2", "3", "4"]);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
}

/// A reader of two records, after each of which a new leader epoch began with all that there was.
async fn read_in_two_epochs(cluster: &TestCluster) -> (Client, Arc<Recorder>, Consumer) {
    cluster.create_topic(1, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    for value in ["1", "2"] {
        cluster.produce(0, Batch::of(&[value]).encode()).await;
        cluster.reaches_lag_0(1).await;
        begin_epoch(cluster).await;
    }
    (client, recorder, consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_election_repeats_nothing_and_tells_of_no_loss() {
    let cluster = TestCluster::embedded().await;
    let (_client, recorder, consumer) = read_in_two_epochs(&cluster).await;
    cluster.produce(0, Batch::of(&["3"]).encode()).await;
    eventually("it goes on", async || (recorder.count() == 3).then_some(())).await;
    assert_eq!(recorder.values(), ["1", "2", "3"]);
    assert!(recorder.truncated_offsets().is_empty());
    consumer.stop().await;
}

/// A new leader epoch begins, with all that there is.
async fn begin_epoch(cluster: &TestCluster) {
    cluster.broker().truncate(&cluster.topic, 0, cluster.end_of(0).await);
}

/// The values that a member gets which begins at the committed offset. It is told of no truncation.
async fn values_from_committed(cluster: &TestCluster) -> Vec<String> {
    let recorder = Arc::new(Recorder::default());
    let consumer = cluster.client().consumer(Arc::clone(&recorder) as _);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    assert_eq!(recorder.truncated_offsets(), []);
    recorder.values()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_others_in_an_epoch_without_a_record_is_of_no_other_history() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    cluster.produce(0, Batch::of(&["1", "2"]).encode()).await;
    begin_epoch(&cluster).await;
    // As Java's member that has no committed offset and begins at the end.
    cluster.commit_in_epoch(0, 2, 1).await;
    begin_epoch(&cluster).await;
    cluster.produce(0, Batch::of(&["3"]).encode()).await;
    assert_eq!(values_from_committed(&cluster).await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_others_gets_the_epoch_of_the_record_before_it() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    cluster.produce(0, Batch::of(&["1", "2"]).encode()).await;
    begin_epoch(&cluster).await;
    cluster.commit_in_epoch(0, 2, 1).await;
    let recorder = Arc::new(Recorder::default());
    let consumer = cluster.client().consumer(Arc::clone(&recorder) as _);
    let faults = cluster.broker().faults();
    eventually("it reads on", async || (faults.count(ApiKey::Fetch) > 2).then_some(())).await;
    cluster.broker().truncate(&cluster.topic, 0, 1);
    for value in ["a", "b", "c"] {
        cluster.broker().append_raw(&cluster.topic, 0, Batch::of(&[value]).encode()).unwrap();
    }
    eventually("it is read", async || (recorder.count() == 3).then_some(())).await;
    assert_eq!(
        (recorder.values(), recorder.truncated_offsets()),
        (vec!["a".into(), "b".into(), "c".into()], vec![(0, 1..2)])
    );
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_others_beyond_the_end_of_its_epoch_is_of_another_history() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    cluster.produce(0, Batch::of(&["1", "2"]).encode()).await;
    cluster.commit_in_epoch(0, 2, 0).await;
    cluster.broker().truncate(&cluster.topic, 0, 1);
    cluster.produce(0, Batch::of(&["a", "b"]).encode()).await;
    let recorder = Arc::new(Recorder::default());
    let consumer = cluster.client().consumer(Arc::clone(&recorder) as _);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    assert_eq!(
        (recorder.values(), recorder.truncated_offsets()),
        (vec!["a".into(), "b".into()], vec![(0, 1..2)])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_compaction_has_left_no_record_of_is_no_truncation() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[("cleanup.policy", "compact")]).await;
    cluster.produce(0, Batch::keyed(&[("a", Some("a1"))]).encode()).await;
    begin_epoch(&cluster).await;
    cluster.produce(0, Batch::keyed(&[("k", Some("k1"))]).encode()).await;
    assert_eq!(values_from_committed(&cluster).await, ["a1", "k1"]);
    begin_epoch(&cluster).await;
    cluster.produce(0, Batch::keyed(&[("k", Some("k2"))]).encode()).await;
    cluster.broker().compact(&cluster.topic);
    assert_eq!(values_from_committed(&cluster).await, ["k2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_knows_no_ends_of_epochs_is_read() {
    let options = Options { lacks: vec![(ApiKey::OffsetForLeaderEpoch, 0)], ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let (_client, recorder, consumer) = read_in_two_epochs(&cluster).await;
    eventually("it goes on", async || (recorder.values() == ["1", "2"]).then_some(())).await;
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

/// A handler that stores its position, without an epoch.
#[derive(Default)]
struct Positioned {
    recorder: Recorder,
    next: AtomicI64,
}

#[async_trait]
impl RecordHandler for Positioned {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        self.next.store(records.last().unwrap().offset + 1, Ordering::SeqCst);
        self.recorder.handle(records).await
    }

    async fn start_from(&self, _partition: i32, _log: &LogState) -> Result<StartFrom, TransientError> {
        Ok(StartFrom::Position(self.next.load(Ordering::SeqCst).into()))
    }

    async fn reset_to(&self, _partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.next.store(position.offset, Ordering::SeqCst);
        Ok(())
    }

    async fn truncated(&self, partition: i32, offsets: Range<i64>) {
        self.recorder.truncated(partition, offsets).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_stores_its_position_goes_back_with_a_log_that_was_truncated() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    let handler = Arc::new(Positioned::default());
    for value in 0..10 {
        cluster.produce(0, Batch::of(&[value.to_string()]).encode()).await;
    }
    let consumer = cluster.client().consumer(Arc::clone(&handler) as _);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    cluster.broker().truncate(&cluster.topic, 0, 3);
    for value in 0..12 {
        cluster.produce(0, Batch::of(&[format!("other-{value}")]).encode()).await;
    }
    let consumer = cluster.client().consumer(Arc::clone(&handler) as _);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    assert_eq!(handler.recorder.truncated_offsets(), [(0, 3..10)]);
    assert_eq!(handler.recorder.values()[10..].first().map(String::as_str), Some("other-0"));
    assert_eq!((handler.recorder.count(), handler.next.load(Ordering::SeqCst)), (22, 15));
}
