//! Other clients: rskafka, and kcat (librdkafka) where it is installed.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
};

use highwater_kafka_broker::{Broker, Options};
use rskafka::{
    chrono::{TimeZone, Utc},
    client::{
        ClientBuilder,
        partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use tokio::task::spawn_blocking;

use crate::support::eventually;

async fn partition(broker: &Broker) -> Arc<PartitionClient> {
    let client = ClientBuilder::new(vec![broker.bootstrap()]).build().await.unwrap();
    client.controller_client().unwrap().create_topic("topic", 1, 1, 5_000).await.unwrap();
    Arc::new(client.partition_client("topic", 0, UnknownTopicHandling::Error).await.unwrap())
}

fn record(value: &str) -> Record {
    Record {
        key: Some(b"key".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: BTreeMap::from([("header".to_owned(), b"there".to_vec())]),
        timestamp: Utc.timestamp_millis_opt(1_000).unwrap(),
    }
}

#[tokio::test]
async fn rskafka_reads_what_it_wrote_and_finds_both_ends() {
    let broker = Broker::start(Options::default()).await.unwrap();
    let partition = partition(&broker).await;
    let written = vec![record("a"), record("b")];
    let offsets = partition.produce(written.clone(), Compression::NoCompression).await.unwrap();
    assert_eq!(offsets, [0, 1]);
    let (records, high_watermark) = partition.fetch_records(0, 1..100_000, 1_000).await.unwrap();
    assert_eq!(records.into_iter().map(|found| found.record).collect::<Vec<_>>(), written);
    assert_eq!(high_watermark, 2);
    broker.delete_records_before("topic", 0, 1);
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 1);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 2);
}

/// Runs kcat on the broker to its end; `None` where it is not installed.
async fn kcat(broker: &Broker, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("kcat");
    command.args(["-b", &broker.bootstrap()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let ran = spawn_blocking(move || {
        let mut running = command.spawn()?;
        running.stdin.take().unwrap().write_all(input.as_bytes())?;
        running.wait_with_output()
    });
    let done = match ran.await.unwrap() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        done => done.unwrap(),
    };
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_lists_produces_in_every_codec_consumes_and_joins_a_group() {
    let broker = Broker::start(Options { default_partitions: 1, ..Options::default() }).await.unwrap();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produced = kcat(&broker, &["-P", "-t", "topic", "-z", codec], &format!("{codec}\n")).await;
        if produced.is_none() {
            return;
        }
    }
    let listed = kcat(&broker, &["-L"], "").await.unwrap();
    assert!(listed.contains("topic \"topic\" with 1 partitions"), "{listed}");
    let everything = "none\ngzip\nsnappy\nlz4\nzstd\n";
    let consumed = kcat(&broker, &["-C", "-t", "topic", "-o", "beginning", "-e", "-q"], "").await;
    assert_eq!(consumed.unwrap(), everything);
    let start = ["-X", "auto.offset.reset=earliest", "-c", "5", "-q", "-G", "group", "topic"];
    assert_eq!(kcat(&broker, &start, "").await.unwrap(), everything);
    eventually("it left", async || broker.members("group").is_empty().then_some(())).await;
    assert_eq!(broker.committed("group", "topic", 0), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_produces_idempotently_and_in_transactions() {
    let broker = Broker::start(Options { default_partitions: 1, ..Options::default() }).await.unwrap();
    let idempotent = ["-P", "-t", "topic", "-X", "enable.idempotence=true"];
    if kcat(&broker, &idempotent, "a\nb\n").await.is_none() {
        return;
    }
    kcat(&broker, &["-P", "-t", "topic", "-X", "transactional.id=mine"], "c\n").await;
    let read = ["-C", "-t", "topic", "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed"];
    assert_eq!(kcat(&broker, &read, "").await.unwrap(), "a\nb\nc\n");
    assert_eq!(broker.end_offset("topic", 0), 4, "three records and a marker");
}
