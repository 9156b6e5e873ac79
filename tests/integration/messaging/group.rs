//! The group: members share the partitions, and one that goes leaves nothing behind.

use std::{collections::BTreeSet, sync::Arc};

use highwater::messaging::{GroupPhase, Publisher};
use tokio::sync::watch;

use super::producing::message;
use crate::support::{Client, Recorder, TestCluster, eventually};

fn partitions_of(client: &Client) -> BTreeSet<i32> {
    let board: watch::Receiver<_> = client.board.watch();
    let status = board.borrow();
    let assigned = status.group.phase == GroupPhase::Assigned;
    status.group.partitions.iter().filter(|_| assigned).map(|partition| partition.partition).collect()
}

async fn share(first: &Client, second: &Client) {
    eventually("two members share the partitions", async || {
        let (ours, theirs) = (partitions_of(first), partitions_of(second));
        let all: BTreeSet<i32> = ours.union(&theirs).copied().collect();
        (all.len() == 3 && !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_a_second_member_takes_its_share_and_nothing_is_lost_or_handled_twice() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let producer = one.producer(one.topic());
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let consumer_one = one.consumer(Arc::clone(&first) as _);
    let load = tokio::spawn({
        let producer = Arc::clone(&producer);
        async move {
            for i in 0..3000 {
                producer.publish(message(&format!("user-{}", i % 50), format!("{i}"))).await.unwrap();
            }
        }
    });
    eventually("the first member works", async || (first.count() > 100).then_some(())).await;
    let consumer_two = two.consumer(Arc::clone(&second) as _);
    share(&one, &two).await;
    load.await.unwrap();
    eventually("all are handled", async || (first.count() + second.count() >= 3000).then_some(())).await;
    consumer_two.stop().await;
    consumer_one.stop().await;
    let mut times = first.times();
    for (place, count) in second.times() {
        *times.entry(place).or_default() += count;
    }
    assert_eq!(times.len(), 3000, "nothing is lost");
    assert!(times.values().all(|count| *count == 1), "nothing is handled twice");
    assert!(!second.values().is_empty(), "the second member has its share");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_a_member_that_leaves_go_to_the_other_and_are_forgotten() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let (first, second) = (Arc::new(Recorder::restoring(100)), Arc::new(Recorder::restoring(100)));
    let consumer_one = one.consumer(Arc::clone(&first) as _);
    eventually("the first member has all", async || (partitions_of(&one).len() == 3).then_some(())).await;
    let producer = one.producer(one.topic());
    for i in 0..30 {
        producer.publish(message(&format!("user-{i}"), format!("{i}"))).await.unwrap();
    }
    eventually("all are handled", async || (first.count() == 30).then_some(())).await;
    let consumer_two = two.consumer(Arc::clone(&second) as _);
    share(&one, &two).await;
    let given_up: BTreeSet<i32> = partitions_of(&two);
    assert_eq!(first.forgotten().into_iter().collect::<BTreeSet<_>>(), given_up);
    eventually("the second member has restored its share", async || {
        let board = two.board.watch();
        let restored = board.borrow().group.partitions.iter().all(|partition| partition.restored);
        restored.then_some(())
    })
    .await;
    let theirs = first.records().into_iter().filter(|record| given_up.contains(&record.partition)).count();
    assert_eq!(second.restored().len(), theirs);
    assert_eq!(first.restored().len(), 0, "what is kept through a rebalance is not read again");

    consumer_two.stop().await;
    eventually("the first member has all again", async || (partitions_of(&one).len() == 3).then_some(()))
        .await;
    consumer_one.stop().await;
    assert_eq!(first.count() + second.count(), 30);
}
