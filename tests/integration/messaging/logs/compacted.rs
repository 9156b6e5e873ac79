//! Logs with gaps, as compaction leaves them.

use std::cell::Cell;

use kafka_protocol::records::Compression;

use super::{WHOLE, read_all, values};
use crate::support::{Batch, TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_is_read_over_its_gaps_to_its_empty_end() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(2, &[("cleanup.policy", "compact")]).await;
    // Gaps within a batch, at both ends of one, and of a whole batch.
    let pairs =
        [("a", Some("a1")), ("b", Some("b1")), ("a", Some("a2")), ("c", Some("c1")), ("a", Some("a3"))];
    cluster.produce(0, Batch::keyed(&pairs).compressed(Compression::Gzip).encode()).await;
    cluster.produce(0, Batch::keyed(&[("a", Some("a4")), ("a", Some("a5"))]).encode()).await;
    cluster.produce(0, Batch::keyed(&[("c", Some("c2")), ("a", Some("a6"))]).encode()).await;
    // In the other partition the tail is a batch without any record.
    cluster.produce(1, Batch::keyed(&[("x", Some("x1")), ("y", Some("y1")), ("x", None)]).encode()).await;
    cluster.produce(1, Batch::of(&["without a key"]).without_keys().encode()).await;
    cluster.broker().compact(&cluster.topic);

    let records = read_all(&cluster, 2, WHOLE).await;
    let mut placed: Vec<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    placed.sort_unstable();
    assert_eq!(placed, [(0, 1), (0, 7), (0, 8), (1, 1), (1, 2)]);
    let mut values = values(&records);
    values.sort_unstable();
    assert_eq!(values, ["a6", "b1", "c2", "null", "y1"]);
    assert_eq!((cluster.end_of(0).await, cluster.end_of(1).await), (9, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_kafkas_cleaner_compacted_is_read_to_its_end() {
    let cluster = TestCluster::start().await;
    if cluster.embedded.is_some() {
        return; // the test above is its own
    }
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "500"),
        ("delete.retention.ms", "0"),
    ];
    cluster.create_topic(1, &configs).await;
    let keys = ["a", "b", "c"];
    let rounds = Cell::new(0);
    // The cleaner runs every 15 s and leaves the active segment alone: the test writes on until
    // the log begins with a gap.
    eventually("the cleaner was there", async || {
        for key in keys {
            let pair = (key, Some(format!("{key}{}", rounds.get())));
            cluster.produce(0, Batch::keyed(&[(pair.0, pair.1.as_deref())]).encode()).await;
        }
        rounds.set(rounds.get() + 1);
        let mut leader = cluster.leader(0).await;
        let first = leader.fetch(&cluster.topic, 0, 0, WHOLE, 0).await.unwrap();
        (first.records.first()?.offset > 3).then_some(())
    })
    .await;
    let records = read_all(&cluster, 1, WHOLE).await;
    let newest: Vec<String> = keys.iter().map(|key| format!("{key}{}", rounds.get() - 1)).collect();
    assert!(values(&records).ends_with(&newest));
    assert!(records.len() < rounds.get() * keys.len(), "something was compacted away");
    assert!(records.is_sorted_by_key(|record| record.offset));
}
