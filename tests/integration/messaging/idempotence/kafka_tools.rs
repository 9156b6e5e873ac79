//! Kafka's own tools as witnesses, where scripts/kafka.sh started the cluster.

use std::{path::PathBuf, sync::Arc, time::Duration};

use highwater_kafka::{Cluster, ClusterConfig, ProducerConfig};
use tokio::task::spawn_blocking;

use super::{super::java, assert_each_once, producer, publish};
use crate::support::TestCluster;

/// New topics take time, and quotas more.
const PATIENT: Duration = Duration::from_secs(60);

/// Runs one of Kafka's tools on the cluster; its output.
async fn output(cluster: &TestCluster, name: &str, arguments: &[&str]) -> Option<String> {
    let mut tool = java::tool(cluster, name)?;
    tool.args(arguments);
    let output = spawn_blocking(move || tool.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The number after that word.
fn number_after(line: &str, word: &str) -> Option<i64> {
    line.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}

/// The files of partition 0 on one of the brokers that have it.
fn segment(cluster: &TestCluster) -> PathBuf {
    let log = java::log_of(cluster);
    let segment = format!("{}-0/00000000000000000000.log", cluster.topic);
    let of_brokers = (1..=3).map(|node| log.with_file_name(format!("data-{node}")).join(&segment));
    of_brokers.into_iter().find(|segment| segment.exists()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_own_dump_of_the_log_has_the_producer_the_epoch_and_the_sequence_of_each_batch() {
    let cluster = TestCluster::start().await;
    if java::tool(&cluster, "topics").is_none() {
        return;
    }
    let client = cluster.client();
    let producer = producer(&client, ProducerConfig::default().with_timeout(PATIENT));
    for number in 0..5 {
        publish(&producer, format!("{number}")).await.unwrap();
    }
    let segment = segment(&cluster);
    let files = ["--files", segment.to_str().unwrap(), "--skip-record-metadata"];
    let dump = output(&cluster, "kafka.tools.DumpLogSegments", &files).await.unwrap();
    let batches = dump.lines().filter_map(|line| {
        let number = |word| number_after(line, word);
        Some([
            number("producerId: ")?,
            number("producerEpoch: ")?,
            number("baseSequence: ")?,
            number("lastSequence: ")?,
        ])
    });
    let batches: Vec<_> = batches.collect();
    let id = batches.first().unwrap_or_else(|| panic!("{dump}"))[0];
    assert!(id >= 0, "{dump}");
    assert_eq!(batches, [0, 1, 2, 3, 4].map(|number| [id, 0, number, number]), "{dump}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_kafka_costs_time_and_writes_nothing_twice() {
    const RATE: usize = 50_000;
    let cluster = TestCluster::start().await;
    // A client id of its own, as other tests write meanwhile.
    let id = cluster.topic.as_str();
    let quota = format!("producer_byte_rate={RATE}");
    let arguments = ["--alter", "--entity-type", "clients", "--entity-name", id, "--add-config", &quota];
    if output(&cluster, "configs", &arguments).await.is_none() {
        return;
    }
    let mut client = cluster.client();
    let config = ClusterConfig::new(cluster.brokers.clone()).with_client_id(id.to_owned());
    client.cluster = Arc::new(Cluster::new(config).unwrap());
    let producer = producer(&client, ProducerConfig::default().with_timeout(PATIENT));
    let mut written = Vec::new();
    let mut write = async |value: String| {
        let receipt = publish(&producer, value.clone()).await.unwrap();
        written.push((value, receipt));
    };
    write("the topic is there".to_owned()).await;
    let retries = producer.metrics().retries;
    // The mean of ten seconds counts.
    for number in 0..50 {
        write(format!("{number:-<RATE$}")).await;
        if producer.metrics().throttled > 0 {
            break;
        }
    }
    write("the last".to_owned()).await;
    let metrics = producer.metrics();
    assert!(metrics.throttled > 0 && metrics.retries == retries, "{metrics:?}");
    assert_each_once(&cluster, &written).await;
}
