//! The group: members share the partitions, and one that goes leaves nothing behind.

use std::{collections::BTreeSet, sync::Arc};

use highwater::messaging::{GroupPhase, GroupStatus, Publisher};

use super::producing::message;
use crate::support::{Client, RecordLoad, Recorder, TestCluster, eventually};

pub(super) fn status_of(client: &Client) -> GroupStatus {
    client.board.watch().borrow().group.clone()
}

pub(super) fn partitions_of(client: &Client) -> BTreeSet<i32> {
    let status = status_of(client);
    let assigned = status.phase == GroupPhase::Assigned;
    status.partitions.iter().filter(|_| assigned).map(|partition| partition.partition).collect()
}

pub(super) async fn share(first: &Client, second: &Client) {
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
    let load = RecordLoad::start(one.producer(one.topic()));
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let consumer_one = one.consumer(Arc::clone(&first) as _);
    eventually("the first member works", async || (first.count() > 100).then_some(())).await;
    let consumer_two = two.consumer(Arc::clone(&second) as _);
    share(&one, &two).await;
    eventually("the second member works", async || (second.count() > 100).then_some(())).await;
    let written = load.end().await;
    each_once(written, &[&first, &second]).await;
    consumer_two.stop().await;
    consumer_one.stop().await;
    each_once(written, &[&first, &second]).await;
}

/// Waits until so many records are handled, and holds against them that none was handled twice.
pub(super) async fn each_once(written: usize, recorders: &[&Recorder]) {
    let handled = || recorders.iter().map(|recorder| recorder.count()).sum::<usize>();
    eventually("all are handled", async || (handled() >= written).then_some(())).await;
    let mut times = std::collections::BTreeMap::new();
    for (place, count) in recorders.iter().flat_map(|recorder| recorder.times()) {
        *times.entry(place).or_insert(0) += count;
    }
    assert_eq!(times.len(), written, "nothing is lost");
    let twice: Vec<_> = times.into_iter().filter(|(_, count)| *count != 1).collect();
    assert_eq!(twice, [], "nothing is handled twice");
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
