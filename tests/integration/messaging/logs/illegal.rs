//! Malformed logs: each stops its partition with an error, and no other.

use std::sync::Arc;

use kafka_protocol::records::Compression;

use super::at_the_end;
use crate::support::{Batch, Recorder, TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_batch_stops_its_partition_loudly_and_no_other() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(2, &[]).await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let mut corrupt = Batch::of(&["corrupt"]).encode().to_vec();
    let last = corrupt.len() - 3;
    corrupt[last] ^= 0xff;
    let at = cluster.broker().append_raw(&cluster.topic, 0, corrupt.into()).unwrap();
    cluster.produce(0, Batch::of(&["behind"]).encode()).await;

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let registry = client.registry.watch();
    let error = eventually("the registry says why it stands still", async || {
        registry.borrow().group.partitions.iter().find(|found| found.partition == 0)?.error.clone()
    })
    .await;
    assert!(error.contains(&format!("offset {at}")), "{error}");
    cluster.produce(1, Batch::of(&["another"]).encode()).await;
    eventually("the other partition goes on", async || (cluster.committed_of(1).await == 1).then_some(()))
        .await;
    consumer.stop().await;
    assert_eq!(recorder.values(), ["before", "another"]);
    assert_eq!(cluster.committed_of(0).await, at, "it is not skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lies_about_its_headers_stops_its_partition_and_costs_no_memory() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    // Two billion headers: the five bytes of the value become the number of headers, behind an empty value.
    let lie = Batch::of(&["\u{1}....."]).encode();
    let (value, number) = ("\u{c}\u{1}.....\0", [0x00, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00]);
    let at = lie.windows(8).position(|bytes| bytes == value.as_bytes()).unwrap();
    let mut bytes = lie.to_vec();
    bytes[at..at + 8].copy_from_slice(&number);
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    cluster.broker().append_raw(&cluster.topic, 0, bytes.into()).unwrap();

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let registry = client.registry.watch();
    eventually("the registry says why it stands still", async || {
        registry.borrow().group.partitions.first()?.error.clone()
    })
    .await;
    consumer.stop().await;
    assert_eq!((recorder.count(), cluster.committed_of(0).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_unpacks_beyond_all_bounds_stops_its_partition_also_at_the_logs_end() {
    let cluster = TestCluster::embedded().await;
    let (client, recorder, consumer) = at_the_end(&cluster).await;
    let zeros = "\0".repeat(129 * 1024 * 1024);
    let bomb = Batch::of(&[zeros]).compressed(Compression::Zstd).encode();
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    let at = cluster.broker().append_raw(&cluster.topic, 0, bomb).unwrap();
    let registry = client.registry.watch();
    let error = eventually("the registry says why it stands still", async || {
        registry.borrow().group.partitions.first()?.error.clone()
    })
    .await;
    assert!(error.contains(&format!("offset {at}")) && error.contains("more than"), "{error}");
    consumer.stop().await;
    assert_eq!((recorder.values(), cluster.committed_of(0).await), (vec!["before".to_owned()], at));
}
