//! Rebalances: partitions that stay, static members that restart, and members that leave.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use highwater_kafka::{
    Consumer, ConsumerConfig, GroupPhase, Publisher,
    group::{Assignor, GroupProtocol},
};
use highwater_kafka_broker::{Fault, Options};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ConsumerProtocolSubscription, JoinGroupRequest, join_group_request::JoinGroupRequestProtocol,
    },
    protocol::Encodable,
};
use tokio::time::timeout;

use super::{
    group::{each_once, partitions_of, share, status_of},
    producing::message,
};
use crate::support::{
    Client, RecordLoad, Recorder, TestCluster, eventually,
    requests::{GROUP, text},
};

fn classic(client: &Client) -> ConsumerConfig {
    client.consumer_config().with_protocol(GroupProtocol::Classic)
}

fn named(client: &Client, instance: &str) -> ConsumerConfig {
    classic(client).with_instance_id(Some(instance.to_owned()))
}

/// Joins as a member that wants none of the topic's partitions, and never does anything again.
pub(super) async fn join_and_fall_silent(cluster: &TestCluster) {
    let mut metadata = BytesMut::new();
    metadata.put_i16(0);
    ConsumerProtocolSubscription::default().encode(&mut metadata, 0).unwrap();
    let sticky = JoinGroupRequestProtocol::default()
        .with_name(text(Assignor::CooperativeSticky.name()))
        .with_metadata(metadata.freeze());
    let mut request = JoinGroupRequest::default()
        .with_group_id(cluster.group_id())
        .with_session_timeout_ms(12_000)
        .with_rebalance_timeout_ms(12_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![sticky]);
    let mut connection = cluster.coordinator(&cluster.group, GROUP).await;
    loop {
        let answer = connection.call(&request, 4..=5).await.unwrap();
        match ResponseError::try_from_code(answer.error_code) {
            None => return,
            Some(ResponseError::MemberIdRequired) => request.member_id = answer.member_id,
            Some(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stays_is_read_and_committed_while_the_group_gathers() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let consumer_one = one.consumer_with(Arc::clone(&first) as _, classic(&one));
    eventually("the first member has all", async || (partitions_of(&one).len() == 3).then_some(())).await;
    join_and_fall_silent(&cluster).await;
    eventually("the generation is there", async || (partitions_of(&one).len() == 3).then_some(())).await;

    // The next rebalance waits for the silent member, until its session or its patience is over.
    let consumer_two = two.consumer_with(Arc::clone(&second) as _, classic(&two));
    let gathers = || status_of(&one).phase == GroupPhase::Joining;
    eventually("the group gathers", async || gathers().then_some(())).await;
    let producer = one.producer(one.topic());
    for number in 0..60 {
        producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
    }
    eventually("all are handled", async || (first.count() == 60).then_some(())).await;
    cluster.reaches_lag_0(3).await;
    assert!(gathers(), "it still does: {:?}", status_of(&one));
    assert_eq!(status_of(&one).partitions.len(), 3);

    share(&one, &two).await;
    consumer_two.stop().await;
    consumer_one.stop().await;
    each_once(60, &[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_also_offer_range_give_up_everything_before_they_join_again() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let both =
        |client: &Client| classic(client).with_assignors(vec![Assignor::CooperativeSticky, Assignor::Range]);
    let load = RecordLoad::start(one.producer(one.topic()));
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let consumer_one = one.consumer_with(Arc::clone(&first) as _, both(&one));
    eventually("the first member works", async || (first.count() > 100).then_some(())).await;
    let consumer_two = two.consumer_with(Arc::clone(&second) as _, both(&two));
    share(&one, &two).await;
    assert_eq!(status_of(&one).assignor, Some("cooperative-sticky"));

    // One of range alone, as in a rolling upgrade: range is elected, and nothing is lost or doubled.
    let three = cluster.client();
    let third = Arc::new(Recorder::default());
    let range = classic(&three).with_assignors(vec![Assignor::Range]);
    let consumer_three = three.consumer_with(Arc::clone(&third) as _, range);
    eventually("all three have one", async || {
        let each = [&one, &two, &three].map(partitions_of);
        each.iter().all(|partitions| partitions.len() == 1).then_some(())
    })
    .await;
    assert_eq!(status_of(&one).assignor, Some("range"));
    eventually("the third member works", async || (third.count() > 100).then_some(())).await;
    consumer_three.stop().await;
    share(&one, &two).await;
    let written = load.end().await;
    each_once(written, &[&first, &second, &third]).await;
    consumer_two.stop().await;
    consumer_one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_without_a_common_assignor_say_so() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let consumer_one = one.consumer_with(Arc::new(Recorder::default()), classic(&one));
    eventually("the first member has all", async || (partitions_of(&one).len() == 3).then_some(())).await;
    let range = classic(&two).with_assignors(vec![Assignor::Range]);
    let consumer_two = two.consumer_with(Arc::new(Recorder::default()), range);
    eventually("the second one says why it is not in", async || {
        let error = status_of(&two).error?;
        error.contains("partition.assignment.strategy").then_some(())
    })
    .await;
    consumer_one.stop().await;
    eventually("then it is", async || (partitions_of(&two).len() == 3).then_some(())).await;
    assert_eq!(status_of(&two).error, None);
    consumer_two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_is_started_again_moves_nothing() {
    let cluster = TestCluster::start().await;
    let one = cluster.client();
    let first = Arc::new(Recorder::default());
    let consumer_one = one.consumer_with(Arc::clone(&first) as _, named(&one, "one"));
    let two = cluster.client();
    let second = Arc::new(Recorder::default());
    let consumer_two = two.consumer_with(Arc::clone(&second) as _, named(&two, "two"));
    share(&one, &two).await;
    let before = (status_of(&one).generation, partitions_of(&one), partitions_of(&two));
    let producer = one.producer(one.topic());
    let write = async |count: usize| {
        for number in 0..count {
            producer.publish(message(&format!("user-{number}"), format!("{number}"))).await.unwrap();
        }
    };
    write(30).await;
    each_once(30, &[&first, &second]).await;

    // The leader and the other: neither tells the group that it goes.
    let mut started = Vec::new();
    for (client, consumer, recorder, instance) in
        [(&two, consumer_two, &second, "two"), (&one, consumer_one, &first, "one")]
    {
        consumer.stop().await;
        let (theirs, written) = (partitions_of(client), first.count() + second.count());
        assert_eq!(theirs, BTreeSet::new());
        write(30).await;
        let again = client.consumer_with(Arc::clone(recorder) as _, named(client, instance));
        each_once(written + 30, &[&first, &second]).await;
        let now = (status_of(&one).generation, partitions_of(&one), partitions_of(&two));
        assert_eq!(now, before, "no rebalance");
        started.push(again);
    }
    for consumer in started {
        consumer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_came_while_the_static_leader_was_started_again_are_read() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let consumer = client.consumer_with(Arc::new(Recorder::default()), named(&client, "one"));
    eventually("it has all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    consumer.stop().await;
    cluster.create_partitions(5).await;
    let again = client.consumer_with(Arc::new(Recorder::default()), named(&client, "one"));
    eventually("it has the new ones", async || (partitions_of(&client).len() == 5).then_some(())).await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_is_to_leave_when_it_stops_is_waited_for_by_nobody() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let leaving = |client, name| named(client, name).with_leave_on_stop(true);
    let consumer_one = one.consumer_with(Arc::new(Recorder::default()), leaving(&one, "one"));
    let consumer_two = two.consumer_with(Arc::new(Recorder::default()), leaving(&two, "two"));
    share(&one, &two).await;
    let began = Instant::now();
    consumer_one.stop().await;
    eventually("the other has all", async || (partitions_of(&two).len() == 3).then_some(())).await;
    let session = two.consumer_config().session_timeout;
    assert!(began.elapsed() < session, "{:?}", began.elapsed());
    consumer_two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_of_the_same_instance_id_fences_the_first_for_good() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let first = one.consumer_with(Arc::new(Recorder::default()), named(&one, "same"));
    eventually("the first has all", async || (partitions_of(&one).len() == 3).then_some(())).await;
    let second = two.consumer_with(Arc::new(Recorder::default()), named(&two, "same"));
    eventually("the second has all", async || (partitions_of(&two).len() == 3).then_some(())).await;
    eventually("the first is out and says why", async || {
        let status = status_of(&one);
        let why = status.error?;
        (status.phase == GroupPhase::Left && why.contains("group.instance.id=same")).then_some(())
    })
    .await;
    assert!(!one.registry.watch().borrow().is_ready());
    first.stop().await;
    assert_eq!(partitions_of(&two).len(), 3);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stands_aside_can_be_stopped() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let config = client.consumer_config().with_max_processing(Duration::from_millis(500));
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    client.producer(client.topic()).publish(message("user-1", "hang")).await.unwrap();
    eventually("it leaves", async || {
        (status_of(&client).phase == GroupPhase::Left && status_of(&client).error.is_some()).then_some(())
    })
    .await;
    consumer.stop().await;
    assert_eq!(status_of(&client).phase, GroupPhase::Left);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_handler_does_not_return_leaves_until_it_does() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let impatient =
        |client: &Client| client.consumer_config().with_max_processing(Duration::from_millis(500));
    let (stuck, healthy) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    healthy.end_trouble();
    let consumer_one = one.consumer_with(Arc::clone(&stuck) as _, impatient(&one));
    eventually("the first member is ready", async || one.registry.watch().borrow().is_ready().then_some(()))
        .await;
    let producer = one.producer(one.topic());
    producer.publish(message("user-1", "before")).await.unwrap();
    eventually("it works", async || (stuck.count() == 1).then_some(())).await;
    cluster.reaches_lag_0(3).await;
    // A failure that it declares is no reason to leave, however long it lasts.
    producer.publish(message("user-1", "hang")).await.unwrap();
    producer.publish(message("user-1", "after")).await.unwrap();
    eventually("it leaves and says why", async || {
        let status = status_of(&one);
        let why = status.error?;
        (status.phase == GroupPhase::Left && why.contains("max_processing")).then_some(())
    })
    .await;
    assert!(!one.registry.watch().borrow().is_ready());
    let consumer_two = two.consumer_with(Arc::clone(&healthy) as _, impatient(&two));
    eventually("another does its work", async || (healthy.count() == 2).then_some(())).await;
    assert_eq!(healthy.values(), ["hang", "after"]);

    stuck.end_trouble();
    share(&one, &two).await;
    assert_eq!(status_of(&one).error, None);
    consumer_one.stop().await;
    consumer_two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_the_handler_declares_is_no_reason_to_leave() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let limit = Duration::from_millis(300);
    let config = client.consumer_config().with_max_processing(limit);
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    eventually("it has all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    let member = status_of(&client).member;
    let producer = client.producer(client.topic());
    producer.publish(message("user-1", "trouble")).await.unwrap();
    // Six attempts are five pauses: 50, 100, 200, 400 and 800 ms at least, which is far more than the limit.
    eventually("it has stood still for longer than that", async || {
        let stands_still = status_of(&client).partitions.iter().any(|partition| partition.error.is_some());
        (stands_still && recorder.refused() >= 6).then_some(())
    })
    .await;
    recorder.end_trouble();
    eventually("it is handled", async || (recorder.count() == 1).then_some(())).await;
    assert_eq!(status_of(&client).member, member, "it has not left and come back");
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_heard_of_stops_and_goes_on_when_the_coordinator_knows_it() {
    let second = Duration::from_secs(1);
    let options = Options { session_timeouts: second..=second, ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let client = cluster.client();
    let config = classic(&client).with_session_timeout(second);
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    eventually("it has all", async || (partitions_of(&client).len() == 3).then_some(())).await;
    let (producer, mut written) = (client.producer(client.topic()), 0);
    cluster.broker().faults().always(ApiKey::Heartbeat, Fault::Stall);
    // Each record is handled in an instant, until one is not.
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < second * 10, "it goes on without a heartbeat");
        producer.publish(message("user-1", format!("{written}"))).await.unwrap();
        written += 1;
        let handled = eventually("it is handled", async || (recorder.count() == written).then_some(()));
        if timeout(second / 2, handled).await.is_err() {
            break;
        }
    }
    eventually("the coordinator has given it up", async || {
        cluster.broker().members(&cluster.group).is_empty().then_some(())
    })
    .await;
    assert_eq!(recorder.count(), written - 1, "what came after the lease waits");
    // As a coordinator that loads its groups does: it answers each heartbeat without a look, and knows no generation.
    let faults = cluster.broker().faults();
    faults.clear();
    faults.always(ApiKey::SyncGroup, Fault::Refuse(ResponseError::RebalanceInProgress));
    faults.always(ApiKey::Heartbeat, Fault::Refuse(ResponseError::Unknown(0)));
    let before = faults.count(ApiKey::Heartbeat);
    eventually("more heartbeats are answered", async || {
        (faults.count(ApiKey::Heartbeat) >= before + 6).then_some(())
    })
    .await;
    assert_eq!(recorder.count(), written - 1, "a blind answer gives no lease back");
    faults.clear();
    eventually("it goes on", async || recorder.values().contains(&format!("{}", written - 1)).then_some(()))
        .await;
    assert_eq!(recorder.times().len(), written);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_broker_has_no_newer_protocol_auto_is_the_classic_one_and_consumer_an_error() {
    let lacks = vec![(ApiKey::ConsumerGroupHeartbeat, 0)];
    let cluster = TestCluster::embedded_with(Options { lacks, ..Options::default() }).await;
    let (one, two) = (cluster.client(), cluster.client());
    let speaking = |client: &Client, protocol| client.consumer_config().with_protocol(protocol);
    let start = |client: &Client, protocol| -> Consumer {
        client.consumer_with(Arc::new(Recorder::default()), speaking(client, protocol))
    };
    let auto = start(&one, GroupProtocol::Auto);
    eventually("it has all", async || (partitions_of(&one).len() == 3).then_some(())).await;
    assert_eq!(status_of(&one).protocol, "classic");
    let consumer = start(&two, GroupProtocol::Consumer);
    eventually("it says what is wrong", async || {
        status_of(&two).error?.contains("group.protocol=consumer needs Kafka 4.0").then_some(())
    })
    .await;
    consumer.stop().await;
    auto.stop().await;
}
