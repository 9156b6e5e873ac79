//! Committed records are read, and aborted ones are not.

use std::sync::Arc;

use highwater_kafka::OffsetReset;

use super::{WHOLE, read_all, values};
use crate::support::{Batch, Recorder, TestCluster, TransactionalProducer, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn committed_transactions_are_read_and_aborted_ones_are_not() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(2, &[]).await;
    let mut one = TransactionalProducer::start(&cluster, "one").await;
    let mut two = TransactionalProducer::start(&cluster, "two").await;
    cluster.produce(0, Batch::of(&["plain 1"]).encode()).await;
    one.send(0, &["committed 1", "committed 2"]).await;
    two.send(0, &["aborted 1"]).await;
    cluster.produce(0, Batch::of(&["plain 2"]).encode()).await;
    one.send(1, &["committed 3"]).await;
    two.send(1, &["aborted 2"]).await;
    one.commit().await;
    two.send(0, &["aborted 3"]).await;
    two.abort().await;
    two.send(0, &["committed 4"]).await;
    one.send(0, &["aborted 4"]).await;
    two.commit().await;
    one.abort().await;

    let records = read_all(&cluster, 2, WHOLE).await;
    let of = |partition| records.iter().filter(move |record| record.partition == partition).cloned();
    assert_eq!(
        values(&of(0).collect::<Vec<_>>()),
        ["plain 1", "committed 1", "committed 2", "plain 2", "committed 4"]
    );
    assert_eq!(values(&of(1).collect::<Vec<_>>()), ["committed 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_aborted_transaction_larger_than_a_fetch_nothing_is_read() {
    let mut cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut producer = TransactionalProducer::start(&cluster, "large").await;
    let large = "x".repeat(600);
    for round in 0..3 {
        cluster.produce(0, Batch::of(&[format!("before {round}")]).encode()).await;
        for batch in 0..5 {
            producer.send(0, &[format!("aborted {round} {batch} {large}")]).await;
        }
        cluster.produce(0, Batch::of(&[format!("between {round}")]).encode()).await;
        for batch in 0..5 {
            producer.send(0, &[format!("aborted {round} {batch} {large}")]).await;
        }
        producer.abort().await;
        cluster.produce(0, Batch::of(&[format!("after {round}")]).encode()).await;
    }
    // A fetch has room for two batches, or for one: it ends inside a transaction.
    for fetch_max_bytes in [1_500, 100] {
        let records = read_all(&cluster, 1, fetch_max_bytes).await;
        let expected: Vec<String> = (0..3)
            .flat_map(|round| ["before", "between", "after"].map(|place| format!("{place} {round}")))
            .collect();
        assert_eq!(values(&records), expected, "fetches of {fetch_max_bytes} bytes");
        cluster.group.push_str("-again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_the_reader_until_it_ends() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut producer = TransactionalProducer::start(&cluster, "open").await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let first = producer.send(0, &["within 1"]).await;
    cluster.produce(0, Batch::of(&["plain"]).encode()).await;

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    eventually("it is read up to the transaction", async || {
        (cluster.committed_of(0).await == first).then_some(())
    })
    .await;
    producer.send(0, &["within 2"]).await;
    assert_eq!(recorder.values(), ["before"]);
    producer.commit().await;
    cluster.reaches_lag_0(1).await;
    assert_eq!(recorder.values(), ["before", "within 1", "plain", "within 2"]);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_begins_at_the_latest_offset_skips_nothing_of_an_open_transaction() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut producer = TransactionalProducer::start(&cluster, "open").await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let first = producer.send(0, &["within"]).await;
    cluster.produce(0, Batch::of(&["plain"]).encode()).await;

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let config = client.consumer_config().with_offset_reset(OffsetReset::Latest);
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    eventually("it has begun", async || (cluster.committed_of(0).await == first).then_some(())).await;
    producer.commit().await;
    cluster.reaches_lag_0(1).await;
    assert_eq!(recorder.values(), ["within", "plain"]);
    consumer.stop().await;
}
