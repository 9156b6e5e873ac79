//! kcat, a client on librdkafka, beside ours: it reads what we write, we read what it writes, and both share
//! a group.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    ops::RangeInclusive,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use highwater_kafka::{
    GroupPhase, Publisher,
    group::{Assignor, GroupProtocol},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

use super::producing::message;
use crate::support::{Recorder, TestCluster, eventually, skipped};

/// kcat on that cluster; none where it is not installed.
pub(super) fn kcat(cluster: &TestCluster) -> Option<Command> {
    let installed = Command::new("kcat").arg("-V").output().is_ok();
    if !installed {
        skipped("kcat", "kcat is not installed");
        return None;
    }
    let mut kcat = Command::new("kcat");
    kcat.args(["-q", "-b", &cluster.brokers.join(",")]);
    Some(kcat)
}

async fn output(mut kcat: Command) -> String {
    let output = spawn_blocking(move || kcat.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Has kcat send a line a record, key before the colon.
async fn send(mut kcat: Command, lines: &[String]) {
    let lines = lines.join("\n");
    let sent = spawn_blocking(move || {
        let mut sending = kcat.args(["-P", "-K", ":"]).stdin(Stdio::piped()).spawn().unwrap();
        sending.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        sending.wait().unwrap()
    });
    assert!(sent.await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_reads_what_highwater_wrote_and_lists_the_topic() {
    let cluster = TestCluster::start().await;
    let Some(mut listing) = kcat(&cluster) else { return };
    let client = cluster.client();
    let producer = client.producer(client.topic());
    for number in 0..20 {
        producer.publish(message(&format!("user-{number}"), format!("value {number}"))).await.unwrap();
    }
    listing.args(["-L", "-t", &cluster.topic]);
    let listed = output(listing).await;
    assert!(listed.contains("with 3 partitions"), "{listed}");
    let mut reading = kcat(&cluster).unwrap();
    reading.args(["-C", "-e", "-f", "%k %s\n", "-t", &cluster.topic]);
    let read = output(reading).await;
    let read: BTreeSet<&str> = read.lines().collect();
    let expected: Vec<String> = (0..20).map(|number| format!("user-{number} value {number}")).collect();
    assert_eq!(read, expected.iter().map(String::as_str).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn highwater_reads_what_kcat_wrote_in_every_codec() {
    let cluster = TestCluster::start().await;
    if kcat(&cluster).is_none() {
        return;
    }
    cluster.create_topic(3, &[]).await;
    let mut expected = BTreeSet::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let values: Vec<String> = (0..30).map(|number| format!("{codec} {number}")).collect();
        let lines: Vec<String> = values.iter().map(|value| format!("{value}:{value}")).collect();
        let mut kcat = kcat(&cluster).unwrap();
        kcat.args(["-t", &cluster.topic, "-z", codec, "-H", "codec=1", "-H", "codec=2"]);
        send(kcat, &lines).await;
        expected.extend(values);
    }
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    cluster.reaches_lag_0(3).await;
    consumer.stop().await;
    assert_eq!(recorder.count(), expected.len());
    assert_eq!(recorder.values().into_iter().collect::<BTreeSet<_>>(), expected);
    for record in recorder.records() {
        assert_eq!(record.headers.iter().last().unwrap().1.as_deref(), Some(&b"2"[..]));
    }
}

/// kcat as a member of the test's group. Dropped, it is killed.
pub(super) struct Member {
    process: Child,
    read: Arc<Mutex<BTreeSet<String>>>,
}

impl Member {
    pub(super) fn start(mut kcat: Command, cluster: &TestCluster, assignor: Assignor) -> Self {
        kcat.args(["-u", "-X", &format!("partition.assignment.strategy={assignor}")]);
        kcat.args(["-X", "auto.offset.reset=earliest"]);
        kcat.args(["-X", "heartbeat.interval.ms=200", "-X", "session.timeout.ms=6000"]);
        kcat.args(["-f", "%s\n", "-G", &cluster.group, &cluster.topic]);
        let mut process = kcat.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
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

    pub(super) fn read(&self) -> BTreeSet<String> {
        self.read.lock().unwrap().clone()
    }

    /// Has it commit and leave.
    pub(super) async fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let ended = spawn_blocking(move || self.process.wait().unwrap());
        assert!(ended.await.unwrap().success());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_and_highwater_share_a_group_by_range() {
    kcat_and_highwater_share_a_group(Assignor::Range).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_and_highwater_share_a_group_by_cooperative_sticky() {
    kcat_and_highwater_share_a_group(Assignor::CooperativeSticky).await;
}

async fn kcat_and_highwater_share_a_group(assignor: Assignor) {
    let cluster = TestCluster::start().await;
    let Some(kcat) = kcat(&cluster) else { return };
    cluster.create_topic(3, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let protocol = GroupProtocol::Classic;
    let config = client.consumer_config().with_protocol(protocol).with_assignors(vec![assignor]);
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    let registry = client.registry.watch();
    let has = async |partitions: RangeInclusive<usize>| {
        eventually(&format!("we have {partitions:?} partitions"), async || {
            let group = &registry.borrow().group;
            let assigned = group.phase == GroupPhase::Assigned;
            (assigned && partitions.contains(&group.partitions.len())).then_some(())
        })
        .await;
    };
    has(3..=3).await;
    let other = Member::start(kcat, &cluster, assignor);
    has(1..=2).await;

    let producer = client.producer(client.topic());
    for number in 0..60 {
        producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
    }
    eventually("all are read", async || (other.read().len() + recorder.count() == 60).then_some(())).await;
    let (ours, theirs) = (recorder.values().into_iter().collect::<BTreeSet<_>>(), other.read());
    assert!(!ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs));

    other.stop().await;
    has(3..=3).await;
    cluster.reaches_lag_0(3).await;
    assert_eq!(recorder.count(), ours.len(), "what kcat read and committed is not read again");
    consumer.stop().await;
}
