//! Kafka's own console consumer beside Highwater in one group: where the cluster under test is one that
//! scripts/kafka.sh started on this machine.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use highwater_kafka::{
    ConsumerConfig, Publisher,
    group::{Assignor, GroupProtocol},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

use super::{
    group::{partitions_of, status_of},
    kcat, kip848,
    producing::message,
};
use crate::support::{Recorder, TestCluster, eventually, skipped};

const STICKY: &str =
    "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");

/// One of Kafka's commands on that cluster; none where scripts/kafka.sh did not start it.
pub(super) fn tool(cluster: &TestCluster, name: &str) -> Option<Command> {
    if !log_of(cluster).exists() {
        skipped("java", "TEST_KAFKA_BROKERS names no cluster of scripts/kafka.sh");
        return None;
    }
    let mut tool = Command::new(SCRIPT);
    tool.args(["tool", port(cluster), name]);
    Some(tool)
}

/// The log file of the cluster's first broker, beside which its data are.
pub(super) fn log_of(cluster: &TestCluster) -> PathBuf {
    let log = Command::new(SCRIPT).args(["log", port(cluster)]).output().unwrap();
    String::from_utf8_lossy(&log.stdout).trim().into()
}

fn port(cluster: &TestCluster) -> &str {
    cluster.brokers[0].rsplit(':').next().unwrap()
}

/// The console consumer as a member of the test's group. Dropped, it is killed.
struct Member {
    process: Child,
    read: Arc<Mutex<BTreeSet<String>>>,
}

impl Member {
    fn start(cluster: &TestCluster, properties: &[&str]) -> Self {
        let mut tool = tool(cluster, "console-consumer").unwrap();
        tool.args(["--topic", &cluster.topic, "--group", &cluster.group]);
        for property in properties.iter().chain(&["auto.offset.reset=earliest"]) {
            tool.args(["--consumer-property", property]);
        }
        let mut process = tool.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let read: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let keep = Arc::clone(&read);
        thread::spawn(move || {
            lines.for_each(|line| {
                keep.lock().unwrap().insert(line.unwrap());
            });
        });
        Self { process, read }
    }

    fn read(&self) -> BTreeSet<String> {
        self.read.lock().unwrap().clone()
    }

    /// Has it commit and leave.
    async fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        spawn_blocking(move || self.process.wait().unwrap()).await.unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The members of the group, as Kafka's own tool prints them.
async fn described(cluster: &TestCluster) -> String {
    let mut tool = tool(cluster, "consumer-groups").unwrap();
    tool.args(["--describe", "--members", "--verbose", "--group", &cluster.group]);
    let output = spawn_blocking(move || tool.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

async fn share(cluster: TestCluster, config: impl Fn(ConsumerConfig) -> ConsumerConfig, properties: &[&str]) {
    if tool(&cluster, "console-consumer").is_none() {
        return;
    }
    cluster.create_topic(3, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config(client.consumer_config()));
    eventually("we have all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    let kept = partitions_of(&client);
    let java = Member::start(&cluster, properties);
    eventually("Java has some", async || (1..=2).contains(&partitions_of(&client).len()).then_some(())).await;
    assert!(partitions_of(&client).is_subset(&kept));
    let producer = client.producer(client.topic());
    for number in 0..60 {
        producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
    }
    eventually("all are read", async || (java.read().len() + recorder.count() == 60).then_some(())).await;
    let (ours, theirs) = (recorder.values().into_iter().collect::<BTreeSet<_>>(), java.read());
    assert!(!ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs));
    let described = described(&cluster).await;
    assert!(described.contains("highwater-test") && described.contains("console-consumer"), "{described}");
    assert!(described.contains(&status_of(&client).member), "{described}");

    // Whichever leads: first we go and come back, then it goes.
    consumer.stop().await;
    for number in 60..90 {
        producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
    }
    eventually("Java has it all", async || (java.read().len() + ours.len() == 90).then_some(())).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config(client.consumer_config()));
    eventually("Java hands some over", async || (!partitions_of(&client).is_empty()).then_some(())).await;
    java.stop().await;
    eventually("we have all again", async || (partitions_of(&client).len() == 3).then_some(())).await;
    cluster.reaches_lag_0(3).await;
    assert_eq!(recorder.count(), 0, "what Java read and committed is not read again");
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_and_highwater_share_a_group_by_cooperative_sticky() {
    let sticky = |config: ConsumerConfig| {
        config.with_protocol(GroupProtocol::Classic).with_assignors(vec![Assignor::CooperativeSticky])
    };
    share(TestCluster::start().await, sticky, &[STICKY, "heartbeat.interval.ms=200"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_librdkafka_and_highwater_share_a_group_by_cooperative_sticky() {
    let cluster = TestCluster::start().await;
    let (Some(_), Some(kcat)) = (tool(&cluster, "console-consumer"), kcat::kcat(&cluster)) else { return };
    cluster.create_topic(3, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let config = client.consumer_config().with_protocol(GroupProtocol::Classic);
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    eventually("we have all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    let java = Member::start(&cluster, &[STICKY, "heartbeat.interval.ms=200"]);
    let librdkafka = kcat::Member::start(kcat, &cluster, Assignor::CooperativeSticky);
    eventually("Kafka's own tool says that each has one", async || {
        let described = described(&cluster).await;
        // Group, member, host, client and the number of its partitions.
        let shares = described.lines().filter(|line| line.starts_with(&cluster.group));
        let shares: Vec<&str> = shares.filter_map(|line| line.split_whitespace().nth(4)).collect();
        (shares == ["1", "1", "1"]).then_some(())
    })
    .await;
    let producer = client.producer(client.topic());
    for number in 0..60 {
        producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
    }
    let read = || [java.read(), librdkafka.read(), recorder.values().into_iter().collect()];
    eventually("all are read", async || {
        (read().iter().map(BTreeSet::len).sum::<usize>() == 60).then_some(())
    })
    .await;
    assert!(read().iter().all(|share| !share.is_empty()));
    assert_eq!(read().into_iter().flatten().collect::<BTreeSet<_>>().len(), 60);
    java.stop().await;
    librdkafka.stop().await;
    eventually("we have all again", async || (partitions_of(&client).len() == 3).then_some(())).await;
    cluster.reaches_lag_0(3).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_with_its_defaults_and_highwater_share_a_group() {
    let both = |config: ConsumerConfig| {
        config
            .with_protocol(GroupProtocol::Classic)
            .with_assignors(vec![Assignor::Range, Assignor::CooperativeSticky])
    };
    share(TestCluster::start().await, both, &["heartbeat.interval.ms=200"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_and_highwater_share_a_group_by_kip_848() {
    let Some(cluster) = kip848::cluster().await else { return };
    let consumer = |config: ConsumerConfig| config.with_protocol(GroupProtocol::Consumer);
    share(cluster, consumer, &["group.protocol=consumer"]).await;
}
