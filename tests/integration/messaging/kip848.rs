//! The protocol of KIP-848, on the embedded broker or on a real cluster of Kafka 4.0 or later.

use std::sync::Arc;

use highwater_kafka::{ConsumerConfig, GroupPhase, Publisher, group::GroupProtocol};
use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupHeartbeatRequest, OffsetCommitRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
};

use super::{
    group::{each_once, partitions_of, share, status_of},
    producing::message,
};
use crate::support::{
    Client, RecordLoad, Recorder, TestCluster, eventually,
    requests::{GROUP, text},
    skipped,
};

/// A cluster that has the protocol; none where it has not.
pub(super) async fn cluster() -> Option<TestCluster> {
    let cluster = TestCluster::start().await;
    let speaks = cluster.connect().await.version::<ConsumerGroupHeartbeatRequest>(1..=1).is_ok();
    if !speaks {
        skipped("kip848", "TEST_KAFKA_BROKERS names no Kafka 4");
    }
    speaks.then_some(cluster)
}

/// A real cluster that has the protocol: the embedded broker takes no group from one protocol to the other while it has
/// members.
async fn real_cluster() -> Option<TestCluster> {
    let cluster = cluster().await?;
    if cluster.embedded.is_some() {
        skipped("kip848", "TEST_KAFKA_BROKERS names no Kafka 4");
    }
    cluster.embedded.is_none().then_some(cluster)
}

fn speaking(client: &Client, protocol: GroupProtocol) -> ConsumerConfig {
    client.consumer_config().with_protocol(protocol)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_upgrade_to_the_newer_protocol_and_back_loses_nothing_and_doubles_nothing() {
    let Some(cluster) = real_cluster().await else { return };
    let clients: Vec<Client> = (0..6).map(|_| cluster.client()).collect();
    let recorders: Vec<Arc<Recorder>> = (0..6).map(|_| Arc::default()).collect();
    let start = |place: usize, protocol| {
        let client = &clients[place];
        client.consumer_with(Arc::clone(&recorders[place]) as _, speaking(client, protocol))
    };
    let works = async |place: usize| {
        let before = recorders[place].count();
        let recorder = &recorders[place];
        eventually("a member works", async || (recorder.count() > before + 50).then_some(())).await;
    };
    let load = RecordLoad::start(clients[0].producer(clients[0].topic()));
    let mut members = vec![start(0, GroupProtocol::Classic), start(1, GroupProtocol::Classic)];
    share(&clients[0], &clients[1]).await;
    // One after another each is replaced: by the newer protocol, then by the older one again.
    let upgrades = [GroupProtocol::Consumer, GroupProtocol::Auto];
    let downgrades = [GroupProtocol::Classic, GroupProtocol::Classic];
    for (place, protocol) in (2..).zip(upgrades.into_iter().chain(downgrades)) {
        members.push(start(place, protocol));
        works(place).await;
        let oldest = members.remove(0);
        oldest.stop().await;
        share(&clients[place - 1], &clients[place]).await;
        let expected = if place < 4 { "consumer" } else { "classic" };
        assert_eq!(status_of(&clients[place]).protocol, expected);
    }
    works(4).await;
    works(5).await;
    let written = load.end().await;
    let recorders: Vec<&Recorder> = recorders.iter().map(Arc::as_ref).collect();
    each_once(written, &recorders).await;
    for member in members {
        member.stop().await;
    }
    each_once(written, &recorders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_by_an_old_epoch_or_by_nobody_changes_nothing() {
    let Some(cluster) = cluster().await else { return };
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer =
        client.consumer_with(Arc::clone(&recorder) as _, speaking(&client, GroupProtocol::Consumer));
    let producer = client.producer(client.topic());
    producer.publish(message("user-1", "it")).await.unwrap();
    cluster.reaches_lag_0(3).await;
    eventually("it has all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    let status = status_of(&client);
    let mut coordinator = cluster.coordinator(&cluster.group, GROUP).await;
    let mut commit = async |member: &str, epoch: i32| {
        let partition =
            OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(99);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(cluster.topic_name())
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(cluster.group_id())
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        let answer = coordinator.call(&request, 9..=9).await.unwrap();
        ResponseError::try_from_code(answer.topics[0].partitions[0].error_code)
    };
    assert_eq!(commit(&status.member, status.generation - 1).await, Some(ResponseError::StaleMemberEpoch));
    assert_eq!(commit("nobody", status.generation).await, Some(ResponseError::UnknownMemberId));
    assert_ne!(cluster.committed_of(0).await, 99);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_is_started_again_gets_what_it_had_and_a_taken_name_waits() {
    let Some(cluster) = cluster().await else { return };
    let (one, two) = (cluster.client(), cluster.client());
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let named = |client: &Client, instance: &str| {
        speaking(client, GroupProtocol::Consumer).with_instance_id(Some(instance.to_owned()))
    };
    let consumer_one = one.consumer_with(Arc::clone(&first) as _, named(&one, "one"));
    let consumer_two = two.consumer_with(Arc::clone(&second) as _, named(&two, "two"));
    share(&one, &two).await;
    let before = (status_of(&one).generation, partitions_of(&one), partitions_of(&two));
    consumer_two.stop().await;
    let producer = one.producer(one.topic());
    for number in 0..30 {
        producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
    }
    let again = two.consumer_with(Arc::clone(&second) as _, named(&two, "two"));
    each_once(30, &[&first, &second]).await;
    let now = (status_of(&one).generation, partitions_of(&one), partitions_of(&two));
    assert_eq!(now, before, "nothing moved");

    let three = cluster.client();
    let third = three.consumer_with(Arc::new(Recorder::default()), named(&three, "two"));
    eventually("who comes with a name that is taken says so", async || {
        status_of(&three).error?.to_lowercase().contains("unreleased").then_some(())
    })
    .await;
    assert_eq!(partitions_of(&two), before.2);
    assert_ne!(status_of(&two).phase, GroupPhase::Left);
    again.stop().await;
    eventually("once it is free it has its place", async || {
        (partitions_of(&three) == before.2).then_some(())
    })
    .await;
    third.stop().await;
    consumer_one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_and_made_again_is_assigned_again() {
    let Some(cluster) = cluster().await else { return };
    let clients = [cluster.client(), cluster.client()];
    let recorders = [(); 2].map(|()| Arc::new(Recorder::default()));
    let start = |place: usize| {
        let client: &Client = &clients[place];
        client.consumer_with(Arc::clone(&recorders[place]) as _, speaking(client, GroupProtocol::Consumer))
    };
    let consumers = [start(0), start(1)];
    share(&clients[0], &clients[1]).await;
    for round in 1..=2 {
        cluster.make_topic_again(3).await;
        let producer = clients[0].producer(clients[0].topic());
        eventually("all three partitions are read", async || {
            for number in 0..10 {
                let sent =
                    producer.publish(message(&format!("user-{number}"), format!("round-{round}"))).await;
                sent.ok()?;
            }
            let values: Vec<_> = recorders.iter().flat_map(|recorder| recorder.records()).collect();
            let of_round = values
                .iter()
                .filter(|record| record.value.as_deref() == Some(format!("round-{round}").as_bytes()));
            let partitions: std::collections::BTreeSet<i32> =
                of_round.map(|record| record.partition).collect();
            (partitions.len() == 3).then_some(())
        })
        .await;
        share(&clients[0], &clients[1]).await;
    }
    for consumer in consumers {
        consumer.stop().await;
    }
}
