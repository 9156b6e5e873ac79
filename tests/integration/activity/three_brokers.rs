//! What only a cluster of three brokers can go through: where TEST_KAFKA_BROKERS names one.

use std::{process::Command, time::Duration};

use super::restarting::each_once;
use crate::support::{TestApp, TestCluster, eventually, skipped, switch};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");
/// How long a post may take to be acknowledged, and to be answered at all.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// How long a broker hangs.
const HANGS: Duration = Duration::from_secs(30);

/// The cluster under test; none where it is smaller.
async fn three_brokers() -> Option<TestCluster> {
    let cluster = TestCluster::start().await;
    let is_large = cluster.brokers.len() >= 3;
    if !is_large {
        skipped("three-brokers", "TEST_KAFKA_BROKERS names no cluster of three brokers");
    }
    is_large.then_some(cluster)
}

/// A broker that hangs until this is dropped.
struct Paused<'a> {
    cluster: &'a TestCluster,
    node: i32,
}

impl<'a> Paused<'a> {
    fn new(cluster: &'a TestCluster, node: i32) -> Self {
        let paused = Self { cluster, node };
        paused.kafka("pause");
        paused
    }

    fn kafka(&self, command: &str) {
        let port = self.cluster.brokers[0].rsplit(':').next().unwrap();
        let done = Command::new(SCRIPT).args([command, port, &self.node.to_string()]).status().unwrap();
        assert!(done.success(), "{command} {port} {}", self.node);
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.kafka("resume");
    }
}

/// Whether brokers may be paused: nothing else is tested on them meanwhile.
fn may_pause() -> bool {
    let may = switch("TEST_KAFKA_PAUSE").is_some();
    if !may {
        skipped("pause", "TEST_KAFKA_PAUSE is not set");
    }
    may
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_move_under_load_cost_time_and_no_refusal() {
    let Some(cluster) = three_brokers().await else { return };
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(200).await;
    // Each comes back to where it was, so that a leader remembered from before is tried, too.
    for _ in 0..3 {
        for partition in 0..3 {
            cluster.move_leader(partition).await;
            load.until_acknowledged(load.acknowledged() + 50).await;
        }
    }
    assert_eq!(load.refused(), 0, "slowest: {:?}", load.slowest());
    assert!(load.slowest() < PRODUCE_TIMEOUT, "{:?}", load.slowest());
    let acknowledged = load.end().await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_and_leads_alone_stops_its_own_partitions_and_no_other() {
    if !may_pause() {
        return;
    }
    let Some(cluster) = three_brokers().await else { return };
    // With copies elsewhere Kafka itself would have the others wait for the one that hangs.
    let app = TestApp::start_with(&cluster, &[("KAFKA_TOPIC_REPLICATION_FACTOR", "1")]).await;
    app.until_ready().await;
    let mut users = [const { None }; 3];
    for number in 0..100 {
        let user = format!("user-{number}");
        let partition = app.generate(&user).await.partition;
        users[partition as usize] = Some(user);
    }
    let users = users.map(Option::unwrap);
    let leaders = [cluster.leader_of(0).await, cluster.leader_of(1).await, cluster.leader_of(2).await];
    let hung = leaders[0];

    let paused = Paused::new(&cluster, hung);
    let login = |user: &str| serde_json::json!({"userId": user, "eventType": "LOGIN"});
    eventually("its breaker opens", async || {
        let answer = app.post("/events/generate", &login(&users[0])).await;
        let problem: serde_json::Value = answer.json().await.unwrap();
        problem["detail"].as_str().unwrap().contains("which leads this event's partition").then_some(())
    })
    .await;
    for (user, leader) in users.iter().zip(leaders) {
        let began = std::time::Instant::now();
        let answer = app.post("/events/generate", &login(user)).await;
        let (status, took) = (answer.status().as_u16(), began.elapsed());
        assert_eq!(status, if leader == hung { 503 } else { 201 }, "{user}");
        assert!(took < Duration::from_secs(1), "{user}: {took:?}");
    }
    eventually("it is ready", async || (app.get("/ready").await.status() == 200).then_some(())).await;
    drop(paused);
    eventually("it takes events again", async || {
        (app.post("/events/generate", &login(&users[0])).await.status() == 201).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_broker_hangs_under_load_all_posts_are_answered_and_what_is_acknowledged_is_stored_once() {
    if !may_pause() {
        return;
    }
    let Some(cluster) = three_brokers().await else { return };
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(200).await;
    let paused = Paused::new(&cluster, cluster.leader_of(1).await);
    let began = std::time::Instant::now();
    eventually("posts are refused", async || (load.refused() > 0).then_some(())).await;
    let refused = load.refused();
    eventually("and go on being refused", async || (load.refused() > refused + 100).then_some(())).await;
    // Longer than Kafka takes to give its partitions to others, and than any session and request may last.
    eventually("it hangs for long", async || (began.elapsed() > HANGS).then_some(())).await;
    drop(paused);
    load.until_acknowledged(load.acknowledged() + 500).await;
    assert!(load.slowest() < ANSWER_TIMEOUT, "{:?}", load.slowest());
    let acknowledged = load.end().await;
    app.until_ready().await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    app.stop().await;
}
