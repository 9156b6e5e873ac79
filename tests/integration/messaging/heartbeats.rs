//! A member of the consumer protocol, and heartbeat answers that a real coordinator gives rarely.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use highwater_kafka::{Consumer, GroupPhase, Publisher, group::GroupProtocol};
use highwater_kafka_broker::Fault;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DeleteTopicsRequest,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
    },
};
use uuid::Uuid;

use super::{
    group::{partitions_of, status_of},
    producing::message,
};
use crate::support::{Client, Heartbeats, Recorder, TestCluster, eventually, requests::text};

type Heartbeat = ConsumerGroupHeartbeatRequest;
type Answer = ConsumerGroupHeartbeatResponse;
type Assigned = (Uuid, Vec<i32>);

/// A coordinator that tells a member what is assigned as Kafka does: when it changed, and to who tells all.
fn assigning(assigned: &Arc<Mutex<Assigned>>) -> impl Fn(&Heartbeat) -> Option<Answer> + Send + Sync + use<> {
    let (assigned, told) = (Arc::clone(assigned), Mutex::new(None));
    move |heartbeat| {
        let assigned = assigned.lock().unwrap().clone();
        let tells_all = heartbeat.subscribed_topic_names.is_some() && heartbeat.topic_partitions.is_some();
        let mut told = told.lock().unwrap();
        let news = tells_all || told.as_ref() != Some(&assigned);
        *told = Some(assigned.clone());
        Some(answer().with_assignment(news.then(|| assignment(&assigned))))
    }
}

fn answer() -> Answer {
    Answer::default().with_member_epoch(1).with_heartbeat_interval_ms(100)
}

fn assignment((topic, partitions): &Assigned) -> Assignment {
    let partitions = TopicPartitions::default().with_topic_id(*topic).with_partitions(partitions.clone());
    Assignment::default().with_topic_partitions(vec![partitions])
}

fn start(client: &Client, recorder: &Arc<Recorder>) -> Consumer {
    let config = client.consumer_config().with_protocol(GroupProtocol::Consumer);
    client.consumer_with(Arc::clone(recorder) as _, config)
}

async fn holds(client: &Client, partitions: &[i32]) {
    let wanted: BTreeSet<i32> = partitions.iter().copied().collect();
    eventually("it holds what is assigned", async || (partitions_of(client) == wanted).then_some(())).await;
}

async fn more(heartbeats: &Heartbeats, count: usize) {
    let before = heartbeats.all().len();
    eventually("it beats", async || (heartbeats.all().len() >= before + count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_of_a_topic_made_again_is_asked_for_until_it_can_be_taken_up() {
    let assigned = Arc::new(Mutex::new((Uuid::nil(), vec![0, 1, 2])));
    let (cluster, heartbeats) = TestCluster::with_coordinator(assigning(&assigned)).await;
    cluster.create_topic(3, &[]).await;
    assigned.lock().unwrap().0 = cluster.topic_id().await;
    let (client, recorder) = (cluster.client(), Arc::new(Recorder::default()));
    let consumer = start(&client, &recorder);
    holds(&client, &[0, 1, 2]).await;

    let before = cluster.topic_id().await;
    let delete =
        DeleteTopicsRequest::default().with_topic_names(vec![cluster.topic_name()]).with_timeout_ms(10_000);
    cluster.connect().await.call(&delete, 1..=5).await.unwrap();
    cluster.create_topic(3, &[]).await;
    let after = cluster.topic_id().await;
    assert_ne!(after, before);
    // No answer tells the name of this topic.
    cluster.broker().faults().always(ApiKey::Metadata, Fault::Drop);
    *assigned.lock().unwrap() = (after, vec![0, 1]);
    more(&heartbeats, 5).await;
    cluster.broker().faults().clear();
    holds(&client, &[0, 1]).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_coordinator_speaks_the_protocol_no_more_holds_nothing() {
    let refused = Arc::new(Mutex::new(None));
    let assigned = Arc::new(Mutex::new((Uuid::nil(), vec![0, 1, 2])));
    let (ends, assigns) = (Arc::clone(&refused), assigning(&assigned));
    let (cluster, _) = TestCluster::with_coordinator(move |heartbeat| {
        let ends: Option<ResponseError> = *ends.lock().unwrap();
        ends.map(|error| Answer::default().with_error_code(error.code())).or_else(|| assigns(heartbeat))
    })
    .await;
    cluster.create_topic(3, &[]).await;
    assigned.lock().unwrap().0 = cluster.topic_id().await;
    let (client, recorder) = (cluster.client(), Arc::new(Recorder::default()));
    let consumer = start(&client, &recorder);
    holds(&client, &[0, 1, 2]).await;
    let producer = client.producer(client.topic());
    producer.publish(message("k", "handled")).await.unwrap();
    eventually("it is handled", async || (recorder.count() == 1).then_some(())).await;

    *refused.lock().unwrap() = Some(ResponseError::UnsupportedVersion);
    holds(&client, &[]).await;
    producer.publish(message("k", "not its own any more")).await.unwrap();
    eventually("it says why", async || status_of(&client).error?.contains("Kafka 4.0").then_some(())).await;
    assert_eq!(recorder.count(), 1);

    *refused.lock().unwrap() = None;
    holds(&client, &[0, 1, 2]).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_goes_before_its_first_heartbeat_is_answered_says_so() {
    let (cluster, heartbeats) = TestCluster::with_coordinator(|heartbeat| {
        (heartbeat.member_epoch != 0).then(|| answer().with_member_epoch(heartbeat.member_epoch))
    })
    .await;
    let (client, recorder) = (cluster.client(), Arc::new(Recorder::default()));
    let consumer = start(&client, &recorder);
    more(&heartbeats, 1).await;
    consumer.stop().await;
    let all = heartbeats.all();
    let told: Vec<i32> = all.iter().map(|heartbeat| heartbeat.member_epoch).collect();
    assert_eq!(told, [0, -1]);
    assert_eq!(all[0].member_id, all[1].member_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_again_has_the_id_that_it_had() {
    let assigned = Arc::new(Mutex::new((Uuid::nil(), vec![0])));
    let (cluster, heartbeats) = TestCluster::with_coordinator(assigning(&assigned)).await;
    cluster.create_topic(1, &[]).await;
    assigned.lock().unwrap().0 = cluster.topic_id().await;
    let (client, recorder) = (cluster.client(), Arc::new(Recorder::default()));
    let config = client
        .consumer_config()
        .with_protocol(GroupProtocol::Consumer)
        .with_max_processing(Duration::from_millis(300));
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    client.producer(client.topic()).publish(message("k", "hang")).await.unwrap();
    let joins = || heartbeats.all().iter().filter(|heartbeat| heartbeat.member_epoch == 0).count();
    eventually("it leaves", async || (status_of(&client).phase == GroupPhase::Left).then_some(())).await;
    let before = joins();
    recorder.end_trouble();
    eventually("it joins again", async || (joins() > before).then_some(())).await;
    let ids: BTreeSet<String> =
        heartbeats.all().iter().map(|heartbeat| heartbeat.member_id.as_str().to_owned()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_group_is_of_another_protocol_it_is_said_and_nothing_about_kafkas_version() {
    let (cluster, _) = TestCluster::with_coordinator(|_| {
        let refused = Answer::default().with_error_code(ResponseError::GroupIdNotFound.code());
        Some(refused.with_error_message(Some(text("Group g is not a consumer group."))))
    })
    .await;
    cluster.create_topic(1, &[]).await;
    let (client, recorder) = (cluster.client(), Arc::new(Recorder::default()));
    let consumer = start(&client, &recorder);
    let error = eventually("it says why", async || status_of(&client).error).await;
    assert!(error.contains("is not a consumer group") && error.contains("migration.policy"), "{error}");
    assert!(!error.contains("4.0"), "{error}");
    consumer.stop().await;
}
