//! Tests that need a cluster of three brokers, which TEST_KAFKA_BROKERS names.

use std::time::Duration;

use super::restarting::each_once;
use crate::support::{Disturbed, TestApp, TestCluster, disturb, eventually, may_disturb, three_brokers};

/// How long a post may take to be acknowledged, and to be answered at all.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// How long a broker hangs.
const HANGS: Duration = Duration::from_secs(30);

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
    if !may_disturb() {
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

    let paused = Disturbed::paused(&cluster, hung);
    let login = |user: &str| serde_json::json!({"userId": user, "eventType": "LOGIN"});
    eventually("its breaker opens", async || {
        let answer = app.post("/events/generate", &login(&users[0])).await;
        let problem: serde_json::Value = answer.json().await.unwrap();
        problem["detail"].as_str().unwrap().contains("that leads this event's partition").then_some(())
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
    if !may_disturb() {
        return;
    }
    let Some(cluster) = three_brokers().await else { return };
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(200).await;
    let paused = Disturbed::paused(&cluster, cluster.leader_of(1).await);
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

/// The same cluster, of which one broker's address is known.
fn seed(cluster: &TestCluster, node: usize) -> TestCluster {
    TestCluster {
        brokers: vec![cluster.brokers[node - 1].clone()],
        embedded: None,
        topic: cluster.topic.clone(),
        group: cluster.group.clone(),
    }
}

/// For as long as Kafka takes to see that a broker is gone: 9 s by KRaft, 18 s by ZooKeeper.
const PATIENT: [(&str, &str); 3] =
    [("PRODUCE_TIMEOUT", "30s"), ("REQUEST_TIMEOUT", "40s"), ("BREAKER_AFTER", "30s")];

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_enough_when_its_broker_dies() {
    if !may_disturb() {
        return;
    }
    let Some(cluster) = three_brokers().await else { return };
    let seed = seed(&cluster, 2);
    let app = TestApp::start_with(&seed, &PATIENT).await;
    app.until_ready().await;
    let load = app.load();
    load.until_acknowledged(200).await;
    let killed = Disturbed::killed(&cluster, 2);
    let users = ["user-1", "user-2", "user-3", "user-4", "user-5", "user-6", "user-7", "user-8"];
    let mut partitions = std::collections::BTreeSet::new();
    for user in users {
        let posted = app.generate(user).await;
        partitions.insert(posted.partition);
        app.until_processed(&posted.id).await;
    }
    assert_eq!(partitions.len(), 3, "{partitions:?}");
    app.until_ready().await;
    load.until_acknowledged(load.acknowledged() + 200).await;
    assert_eq!(load.refused(), 0, "slowest: {:?}", load.slowest());
    let acknowledged = load.end().await;
    eventually("what was acknowledged is listed", async || {
        let listed = app.processed().await;
        (acknowledged.iter().all(|id| listed.contains(id))).then_some(())
    })
    .await;
    drop(killed);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_come_back_at_other_addresses_are_found_there() {
    if !may_disturb() {
        return;
    }
    let Some(cluster) = three_brokers().await else { return };
    let app = TestApp::ready(&cluster).await;
    let load = app.load();
    load.until_acknowledged(200).await;
    let first: u16 = cluster.brokers[0].rsplit(':').next().unwrap().parse().unwrap();
    // There, where none of the addresses is left that the service was given, and back.
    for elsewhere in [100, 0] {
        for node in 1..=3 {
            disturb(&cluster, "end", node, &[]);
            disturb(&cluster, "revive", node, &[&(first + elsewhere + node as u16 - 1).to_string()]);
            // An operator who rolls a cluster waits for its replicas.
            load.until_acknowledged(load.acknowledged() + 200).await;
        }
        let users = ["user-1", "user-2", "user-3", "user-4", "user-5", "user-6", "user-7", "user-8"];
        for user in users {
            let posted = app.generate(user).await;
            app.until_processed(&posted.id).await;
        }
        app.until_ready().await;
    }
    let acknowledged = load.end().await;
    cluster.until_committed_to_the_end().await;
    each_once(&app.processed().await, &acknowledged);
    app.stop().await;
}
