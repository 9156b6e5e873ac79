//! The producer: an acknowledged record is in the log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use highwater_kafka::{Message, PublishError, Publisher, Topic, TopicConfig, partition_for_key};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use crate::support::{TestCluster, eventually};

pub(super) fn message(key: &str, value: impl Into<Vec<u8>>) -> Message {
    Message {
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.into()),
        headers: vec![],
        timestamp: chrono::Utc::now(),
        partition: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_created_and_keys_go_where_java_puts_them() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    for key in ["user-1", "user-2", "foobar"] {
        let receipt = producer.publish(message(key, "v")).await.unwrap();
        assert_eq!(receipt.partition, partition_for_key(key.as_bytes(), 3));
    }
    assert_eq!(producer.topic().partitions(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_key_get_offsets_in_the_order_of_calls() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    // Calls are in order once the topic is known: until then they wait for it, in no order.
    producer.publish(message("one", "first")).await.unwrap();
    let sent = (1..500).map(|i| producer.publish(message("one", format!("{i}"))));
    let offsets: Vec<_> = join_all(sent).await.into_iter().map(|receipt| receipt.unwrap().offset).collect();
    assert!(offsets.iter().copied().eq((1..500).map(Some)), "{offsets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledgement_waits_for_a_delayed_ack() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    producer.publish(message("warm", "up")).await.unwrap();
    for size in [1, 100, 4_000, 8_000, 9_000, 16_000, 33_000, 65_000, 200_000, 900_000] {
        // A stalled batch takes 40 ms each time; a busy machine is slow now and then.
        eventually(&format!("{size} bytes are acknowledged at once"), async || {
            let began = Instant::now();
            producer.publish(message("warm", vec![b'x'; size])).await.unwrap();
            (began.elapsed() < Duration::from_millis(35)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_split_and_a_record_that_is_too_large_is_refused() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let topic = client.topic();
    let producer = client.producer(topic);
    producer.publish(message("k", "first")).await.unwrap();
    let too_large = producer.publish(message("k", vec![b'x'; 2_000_000]));
    let others = join_all((0..20).map(|_| producer.publish(message("k", vec![b'y'; 100_000]))));
    let (too_large, others) = tokio::join!(too_large, others);
    assert!(matches!(too_large, Err(PublishError::TooLarge(_))), "{too_large:?}");
    assert!(others.iter().all(Result::is_ok), "{others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_what_is_queued_and_then_takes_nothing() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    producer.publish(message("k", "first")).await.unwrap();
    let sent = join_all((0..100).map(|i| producer.publish(message("k", format!("{i}")))));
    let (sent, ()) = tokio::join!(sent, producer.close());
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(producer.publish(message("k", "late")).await, Err(PublishError::Stopping));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_batch_failed_is_sent_alone_until_a_batch_is_acknowledged() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    for partition in 0..3 {
        producer.publish(message_to(partition, "first")).await.unwrap();
    }
    let faults = cluster.broker().faults();
    let before = faults.count(ApiKey::Produce);

    // The broker says of one batch that its replicas did not come in time, and takes its time with the next try.
    faults.once(ApiKey::Produce, Fault::Refuse(ResponseError::RequestTimedOut));
    faults.once(ApiKey::Produce, Fault::Delay(Duration::from_secs(2)));
    let delayed = producer.publish(message_to(1, "delayed"));
    let others = async {
        eventually("the second try is on its way", async || {
            (faults.count(ApiKey::Produce) == before + 2).then_some(())
        })
        .await;
        let began = Instant::now();
        for partition in [0, 2, 0, 2] {
            producer.publish(message_to(partition, "meanwhile")).await.unwrap();
        }
        began.elapsed()
    };
    let (delayed, took) = tokio::join!(delayed, others);
    delayed.unwrap();
    assert!(took < Duration::from_secs(1), "the others waited for {took:?}");
}

/// A message for that partition.
fn message_to(partition: i32, value: impl Into<Vec<u8>>) -> Message {
    Message { partition: Some(partition), ..message("k", value) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_for_all_partitions_of_a_broker_goes_in_one_request() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    producer.publish(message_to(0, "first")).await.unwrap();
    let faults = cluster.broker().faults();
    let before = faults.count(ApiKey::Produce);

    faults.once(ApiKey::Produce, Fault::Delay(Duration::from_millis(300)));
    let in_flight = producer.publish(message_to(0, "in flight"));
    let gathering = async {
        eventually("the first request is on its way", async || {
            (faults.count(ApiKey::Produce) > before).then_some(())
        })
        .await;
        join_all((0..30).map(|i| producer.publish(message_to(i % 3, format!("{i}"))))).await
    };
    let (in_flight, gathered) = tokio::join!(in_flight, gathering);
    in_flight.unwrap();
    gathered.into_iter().for_each(|receipt| assert!(receipt.is_ok(), "{receipt:?}"));
    assert_eq!(faults.count(ApiKey::Produce), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_for_several_partitions_each_batch_has_its_own_fate() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    producer.publish(message_to(0, "first")).await.unwrap();
    let sent = (0..3).map(|partition| {
        let size = if partition == 1 { 2_000_000 } else { 100 };
        producer.publish(message_to(partition, vec![b'x'; size]))
    });
    let fates = join_all(sent).await;
    assert!(fates[0].is_ok() && fates[2].is_ok(), "{fates:?}");
    assert!(matches!(fates[1], Err(PublishError::TooLarge(_))), "{fates:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_many_callers_fill_and_few_callers_wait_for_nobody() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = Arc::new(client.producer(client.topic()));
    producer.publish(message("k", "first")).await.unwrap();

    // One caller after the other: a batch each, and none waits for more to come.
    let batches = producer.metrics().batches;
    let mut best = Duration::MAX;
    for number in 0..50 {
        let began = Instant::now();
        producer.publish(message("k", format!("{number}"))).await.unwrap();
        best = best.min(began.elapsed());
    }
    assert_eq!(producer.metrics().batches, batches + 50);
    assert!(best < Duration::from_millis(4), "{best:?} at best");

    // Four hundred callers, each with its next record as soon as the last is acknowledged. They need 23 to 47 batches on an
    // idle machine, and 113 to 214 if none waits to fill; where its threads wait for a core, callers come late.
    eventually("batches of many callers fill", async || {
        let batches = producer.metrics().batches;
        let callers = (0..400).map(|caller| {
            let producer = Arc::clone(&producer);
            tokio::spawn(async move {
                for number in 0..20 {
                    producer.publish(message("k", format!("{caller} {number}"))).await.unwrap();
                    for _ in 0..caller % 40 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
        join_all(callers).await.into_iter().for_each(|caller| caller.unwrap());
        (producer.metrics().batches - batches <= 60).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_not_written_to() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    // There are no other connections meanwhile.
    let (never, config) = (Duration::from_secs(60 * 60), TopicConfig::new(&cluster.topic));
    let topic = Topic::follow(Arc::clone(&client.cluster), config, never, Arc::clone(&client.registry));
    let producer = client.producer(topic);
    let opened = || cluster.broker().faults().count(ApiKey::ApiVersions);
    producer.publish(message("one", "at first")).await.unwrap();
    let connection = cluster.connect().await;
    let before = opened();
    producer.publish(message("one", "soon after")).await.unwrap();
    assert_eq!(opened(), before);
    assert!(!connection.is_unusable());
    // As where something on the way has forgotten the connection: an answer would be waited for in vain.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(4 * 60)).await;
    tokio::time::resume();
    assert!(connection.is_unusable());
    producer.publish(message("one", "long after")).await.unwrap();
    assert!(opened() > before);
    assert_eq!(cluster.broker().faults().count(ApiKey::Produce), 3);
}
