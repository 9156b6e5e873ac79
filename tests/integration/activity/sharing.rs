//! Two instances of the service, one group.

use std::time::Instant;

use super::restarting::each_once;
use crate::support::{SESSION, TestApp, TestCluster, eventually};

/// Waits until both are ready and have the three partitions between them.
async fn until_shared(one: &TestApp, other: &TestApp) {
    eventually("the partitions are shared", async || {
        let (mine, theirs) = (one.partitions().await, other.partitions().await);
        let mut all = [mine.clone(), theirs.clone()].concat();
        all.sort_unstable();
        (all == [0, 1, 2] && !mine.is_empty() && !theirs.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_the_partitions_and_together_have_every_event_once() {
    let cluster = TestCluster::start().await;
    let one = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for number in 0..30 {
        posted.push(one.generate(&format!("user-{number}")).await);
    }
    let other = TestApp::start(&cluster).await;
    until_shared(&one, &other).await;
    for number in 0..60 {
        let app = if number % 2 == 0 { &one } else { &other };
        posted.push(app.generate(&format!("user-{number}")).await);
    }
    cluster.until_committed_to_the_end().await;

    let ids: Vec<String> = posted.iter().map(|posted| posted.id.clone()).collect();
    let together = [one.processed().await, other.processed().await].concat();
    each_once(&together, &ids);
    assert_eq!(together.len(), ids.len());
    for app in [&one, &other] {
        let (own, partitions) = (app.processed().await, app.partitions().await);
        for posted in &posted {
            assert_eq!(own.contains(&posted.id), partitions.contains(&posted.partition.into()));
        }
    }

    // One leaves in good order: the other takes over without waiting for a session to end.
    let began = Instant::now();
    one.stop().await;
    eventually("the other has it all", async || (other.partitions().await.len() == 3).then_some(())).await;
    assert!(began.elapsed() < SESSION, "{:?}", began.elapsed());
    each_once(&other.processed().await, &ids);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_two_is_killed_the_other_has_everything_within_the_session_time_out() {
    let cluster = TestCluster::start().await;
    let one = TestApp::ready(&cluster).await;
    let other = TestApp::start(&cluster).await;
    until_shared(&one, &other).await;
    let load = other.load();
    load.until_acknowledged(200).await;
    one.kill();
    let began = Instant::now();
    eventually("the other has all partitions", async || (other.partitions().await.len() == 3).then_some(()))
        .await;
    // Some of it is for the coordinator to notice, and for the other to hear of it, join and restore.
    assert!(began.elapsed() < SESSION * 2, "{:?}", began.elapsed());
    let acknowledged = load.end().await;
    cluster.until_committed_to_the_end().await;
    each_once(&other.processed().await, &acknowledged);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_joins_under_load_costs_no_event_and_doubles_none() {
    let cluster = TestCluster::start().await;
    let one = TestApp::ready(&cluster).await;
    let load = one.load();
    load.until_acknowledged(200).await;
    let other = TestApp::start(&cluster).await;
    until_shared(&one, &other).await;
    load.until_acknowledged(load.acknowledged() + 200).await;
    let acknowledged = load.end().await;
    cluster.until_committed_to_the_end().await;
    each_once(&[one.processed().await, other.processed().await].concat(), &acknowledged);
    one.stop().await;
    other.stop().await;
}
