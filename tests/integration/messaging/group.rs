//! The group: members share the partitions, and a member that leaves gives its partitions to others.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use highwater_kafka::{Consumer, GroupPhase, GroupStatus, Publisher, group::GroupProtocol};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::{producing::message, rebalancing::join_and_fall_silent};
use crate::support::{Batch, Client, RecordLoad, Recorder, TestCluster, TransactionalProducer, eventually};

pub(super) fn status_of(client: &Client) -> GroupStatus {
    client.registry.watch().borrow().group.clone()
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
        let registry = two.registry.watch();
        let restored = registry.borrow().group.partitions.iter().all(|partition| partition.restored);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_committed_at_a_stop_also_while_the_group_gathers() {
    for refusal in [ResponseError::RebalanceInProgress, ResponseError::IllegalGeneration] {
        let cluster = TestCluster::embedded().await;
        let client = cluster.client();
        let recorder = Arc::new(Recorder::default());
        let config = client.consumer_config().with_commit_interval(Duration::from_secs(600));
        let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
        eventually("each start is committed", async || {
            let starts = cluster.broker().faults().count(ApiKey::OffsetCommit);
            (starts > 0 && partitions_of(&client).len() == 3).then_some(())
        })
        .await;
        let producer = client.producer(client.topic());
        for number in 0..30 {
            producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
        }
        eventually("all are handled", async || (recorder.count() == 30).then_some(())).await;
        cluster.broker().faults().times(ApiKey::OffsetCommit, Fault::Refuse(refusal), 3);
        consumer.stop().await;
        assert_eq!(cluster.committed().await, cluster.ends().await, "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_a_transaction_may_yet_change_are_waited_for() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    cluster.create_topic(1, &[]).await;
    let topic = client.topic();
    let producer = client.producer(topic);
    eventually("ten are written", async || {
        let results = producer.publish(message("k", "v")).await;
        (results.ok()?.offset >= Some(9)).then_some(())
    })
    .await;
    // Another member of the group commits in a transaction, as Kafka Streams does.
    let mut transaction = TransactionalProducer::start(&cluster, "commits").await;
    transaction.commit_offset(0, 4).await;
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    eventually("it is told to wait", async || {
        client.registry.watch().borrow().kafka.error.as_ref()?.contains("committing offsets").then_some(())
    })
    .await;
    assert_eq!(recorder.count(), 0);
    transaction.commit().await;
    eventually("it goes on where that ends", async || (recorder.count() >= 6).then_some(())).await;
    assert_eq!(recorder.records()[0].offset, 4);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_up_the_partition_alone_whose_offset_it_commits() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    cluster.create_topic(2, &[]).await;
    for partition in 0..2 {
        cluster.produce(partition, Batch::of(&[format!("of-{partition}")]).encode()).await;
    }
    let mut transaction = TransactionalProducer::start(&cluster, "commits").await;
    transaction.commit_offset(1, 1).await;
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    eventually("the other one is read", async || (recorder.count() == 1).then_some(())).await;
    eventually("what is waited for is said", async || {
        client.registry.watch().borrow().kafka.error.as_ref()?.contains("UnstableOffset").then_some(())
    })
    .await;
    assert_eq!(recorder.values(), ["of-0"]);
    transaction.commit().await;
    cluster.produce(1, Batch::of(&["after"]).encode()).await;
    eventually("it is read from there", async || (recorder.count() == 2).then_some(())).await;
    assert_eq!(recorder.values(), ["of-0", "after"]);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_answered_delays_no_heartbeat_for_long() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client_within(Duration::from_secs(30));
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    eventually("it has all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    let (faults, member) = (cluster.broker().faults(), status_of(&client).member);
    faults.once(ApiKey::OffsetCommit, Fault::Stall);
    let asked = faults.count(ApiKey::OffsetCommit);
    let producer = client.producer(client.topic());
    producer.publish(message("k", "v")).await.unwrap();
    eventually("it commits", async || (faults.count(ApiKey::OffsetCommit) > asked).then_some(())).await;
    cluster.until_committed_to_the_end().await;
    let status = status_of(&client);
    assert_eq!(status.member, member, "{status:?}");
    assert_eq!(status.rebalances.len(), 1, "it was never out of the group");
    consumer.stop().await;
}

/// Two members of one group that read different topics, the first of which leads it.
async fn of_two_topics(cluster: &TestCluster) -> ([Client; 2], [Consumer; 2]) {
    let clients = [cluster.client(), cluster.client_of(&cluster.users())];
    let start = |place: usize| {
        let client: &Client = &clients[place];
        let config = client.consumer_config().with_protocol(GroupProtocol::Classic);
        client.consumer_with(Arc::new(Recorder::default()), config)
    };
    let has_all = async |place: usize| {
        eventually("it has its topic", async || (partitions_of(&clients[place]).len() == 3).then_some(()))
            .await;
    };
    let first = start(0);
    has_all(0).await;
    let second = start(1);
    has_all(1).await;
    has_all(0).await;
    (clients, [first, second])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_sees_to_new_partitions_of_topics_that_others_read() {
    let cluster = TestCluster::start().await;
    let ([_, client], consumers) = of_two_topics(&cluster).await;
    cluster.create_partitions_of(&cluster.users(), 5).await;
    eventually("who reads it has them", async || (partitions_of(&client).len() == 5).then_some(())).await;
    for consumer in consumers {
        consumer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_looked_up_for_a_moment_is_taken_from_nobody() {
    let cluster = TestCluster::embedded().await;
    let (clients, consumers) = of_two_topics(&cluster).await;
    let before = status_of(&clients[1]).generation;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::Metadata, Fault::Refuse(ResponseError::LeaderNotAvailable));
    let syncs = faults.count(ApiKey::SyncGroup);
    join_and_fall_silent(&cluster).await;
    eventually("an assignment is wanted", async || (faults.count(ApiKey::SyncGroup) > syncs).then_some(()))
        .await;
    let asked = faults.count(ApiKey::Metadata);
    eventually("the leader asks", async || (faults.count(ApiKey::Metadata) > asked + 10).then_some(())).await;
    faults.clear();
    eventually("both have theirs", async || {
        let both = clients.each_ref().map(|client| partitions_of(client).len());
        (both == [3, 3] && status_of(&clients[1]).generation > before).then_some(())
    })
    .await;
    let rebalances = status_of(&clients[1]).rebalances;
    assert!(rebalances.iter().all(|rebalance| rebalance.revoked.is_empty()), "{rebalances:?}");
    for consumer in consumers {
        consumer.stop().await;
    }
}
