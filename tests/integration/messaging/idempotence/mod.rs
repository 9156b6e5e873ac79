//! The idempotent producer (KIP-98): no retry writes a record twice.

mod kafka_tools;
mod lost_answers;
mod three_brokers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use highwater_kafka::{Message, Producer, ProducerConfig, PublishError, Publisher, Receipt};
use highwater_kafka_broker::Fault;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, FetchRequest, InitProducerIdRequest,
        fetch_request::{FetchPartition, FetchTopic},
    },
};

use super::producing::message;
use crate::support::{Batch, Client, TestCluster, eventually};

/// A cluster, and a producer that has written a first record to partition 0.
async fn started(config: ProducerConfig) -> (TestCluster, Client, Arc<Producer>) {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = producer(&client, config);
    eventually("the topic is there", async || publish(&producer, "first").await.ok()).await;
    (cluster, client, producer)
}

fn producer(client: &Client, config: ProducerConfig) -> Arc<Producer> {
    let (cluster, registry) = (Arc::clone(&client.cluster), Arc::clone(&client.registry));
    Arc::new(Producer::new(cluster, client.topic(), config, registry))
}

async fn publish(producer: &Producer, value: impl Into<Vec<u8>>) -> Result<Receipt, PublishError> {
    producer.publish(Message { partition: Some(0), ..message("k", value) }).await
}

/// Publishes these as one batch: they gather behind a record whose request is under way. `meanwhile` is done before.
async fn publish_together(
    (cluster, producer): (&TestCluster, &Producer),
    values: impl IntoIterator<Item = Vec<u8>>,
    meanwhile: impl FnOnce(),
) -> Vec<Result<Receipt, PublishError>> {
    let faults = cluster.broker().faults();
    let sent = faults.count(ApiKey::Produce);
    faults.once(ApiKey::Produce, Fault::Delay(Duration::from_millis(300)));
    let in_flight = publish(producer, "in flight");
    let gathering = async {
        eventually("a request is in flight", async || (faults.count(ApiKey::Produce) > sent).then_some(()))
            .await;
        meanwhile();
        join_all(values.into_iter().map(|value| publish(producer, value))).await
    };
    let (in_flight, gathered) = tokio::join!(in_flight, gathering);
    in_flight.unwrap();
    gathered
}

/// Checks that the log of partition 0 has each of these values once, at its receipt's offset, and nothing else but the value
/// `first`.
async fn assert_each_once(cluster: &TestCluster, written: &[(String, Receipt)]) {
    let expected = written.iter().map(|(value, receipt)| (receipt.offset.unwrap(), value.clone()));
    let log = cluster
        .records(&cluster.topic)
        .await
        .into_iter()
        .map(|(_, found)| (found.offset, String::from_utf8(found.record.value.unwrap()).unwrap()));
    let log: BTreeMap<_, _> = log.filter(|(_, value)| value != "first").collect();
    assert_eq!(log, expected.collect::<BTreeMap<_, _>>());
}

/// A batch in the log: its producer's id and epoch, its first number, and how many records it has.
type Head = (i64, i16, i32, i32);

/// The batches in the log of partition 0.
async fn heads(cluster: &TestCluster) -> Vec<Head> {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(64 << 20);
    let topic = FetchTopic::default().with_topic(cluster.topic_name()).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(64 << 20).with_topics(vec![topic]);
    let answer = cluster.leader(0).await.call(&request, 4..=4).await.unwrap();
    let mut log = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
    let mut heads = Vec::new();
    while !log.is_empty() {
        let length = i32::from_be_bytes(log[8..12].try_into().unwrap()) as usize + 12;
        let batch: Bytes = log.split_to(length);
        heads.push((
            i64::from_be_bytes(batch[43..51].try_into().unwrap()),
            i16::from_be_bytes(batch[51..53].try_into().unwrap()),
            i32::from_be_bytes(batch[53..57].try_into().unwrap()),
            i32::from_be_bytes(batch[57..61].try_into().unwrap()),
        ));
    }
    heads
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_sent_again_with_its_numbers_and_is_in_the_log_once() {
    let (cluster, _client, producer) = started(ProducerConfig::default()).await;
    let faults = cluster.broker().faults();
    for fault in [Fault::LoseAnswer, Fault::Drop, Fault::Refuse(ResponseError::NotEnoughReplicasAfterAppend)]
    {
        let before = cluster.broker().end_offset(&cluster.topic, 0);
        let sent = faults.count(ApiKey::Produce);
        faults.times(ApiKey::Produce, fault, 2);
        let receipt = publish(&producer, "answered at the third attempt").await.unwrap();
        assert_eq!(faults.count(ApiKey::Produce), sent + 3);
        assert_eq!(receipt.offset, Some(before), "{fault:?}");
        assert_eq!(cluster.broker().end_offset(&cluster.topic, 0), before + 1, "{fault:?}");
    }
    let (id, ..) = heads(&cluster).await[0];
    assert_eq!(heads(&cluster).await, [0, 1, 2, 3].map(|number| (id, 0, number, 1)));
    assert!(id >= 0);
    assert_eq!(faults.count(ApiKey::InitProducerId), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_idempotence_batches_have_no_producer_and_a_retry_can_write_twice() {
    let (cluster, _client, producer) = started(ProducerConfig::default().with_idempotence(false)).await;
    cluster.broker().faults().once(ApiKey::Produce, Fault::LoseAnswer);
    publish(&producer, "twice").await.unwrap();
    assert_eq!(heads(&cluster).await, vec![(-1, -1, -1, 1); 3]);
    assert_eq!(cluster.broker().faults().count(ApiKey::InitProducerId), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_numbers_of_a_batch_that_is_not_in_the_log_begin_a_new_epoch() {
    let (cluster, _client, producer) = started(ProducerConfig::default()).await;
    let (first, ..) = heads(&cluster).await[0];
    for (refusal, epoch) in [
        (ResponseError::OutOfOrderSequenceNumber, 1),
        (ResponseError::UnknownProducerId, 2),
        // It names no batch that was sent before, so it cannot have been written.
        (ResponseError::DuplicateSequenceNumber, 3),
    ] {
        cluster.broker().faults().once(ApiKey::Produce, Fault::Refuse(refusal));
        publish(&producer, "in a new epoch").await.unwrap();
        assert_eq!(*heads(&cluster).await.last().unwrap(), (first, epoch, 0, 1), "{refusal}");
    }
    let mut last = first;
    for refusal in [
        ResponseError::InvalidProducerEpoch,
        ResponseError::ProducerFenced,
        ResponseError::InvalidProducerIdMapping,
    ] {
        cluster.broker().faults().once(ApiKey::Produce, Fault::Refuse(refusal));
        publish(&producer, "with a new id").await.unwrap();
        let (id, epoch, number, _) = *heads(&cluster).await.last().unwrap();
        assert!(id != last && (epoch, number) == (0, 0), "{refusal}");
        last = id;
    }
    publish(&producer, "and on").await.unwrap();
    assert_eq!(*heads(&cluster).await.last().unwrap(), (last, 0, 1, 1));
    assert_eq!(cluster.broker().end_offset(&cluster.topic, 0), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_numbers_after_a_lost_answer_say_possibly_written_and_the_next_record_is_in_a_new_epoch() {
    let (cluster, _client, producer) = started(ProducerConfig::default()).await;
    let faults = cluster.broker().faults();
    let mut end = 1;
    for refusal in [
        ResponseError::OutOfOrderSequenceNumber,
        ResponseError::UnknownProducerId,
        ResponseError::InvalidProducerEpoch,
    ] {
        faults.once(ApiKey::Produce, Fault::LoseAnswer);
        faults.once(ApiKey::Produce, Fault::Refuse(refusal));
        let error = publish(&producer, "who knows").await.unwrap_err();
        assert!(error.possibly_written(), "{refusal}: {error}");
        let receipt = publish(&producer, "the next").await.unwrap();
        assert_eq!(receipt.offset, Some(end + 1), "{refusal}");
        end += 2;
    }
    let epochs: Vec<_> =
        heads(&cluster).await.into_iter().map(|(_, epoch, number, _)| (epoch, number)).collect();
    assert_eq!(epochs, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (0, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_that_the_broker_has_but_cannot_place_is_acknowledged_without_an_offset() {
    let (cluster, _client, producer) = started(ProducerConfig::default()).await;
    let faults = cluster.broker().faults();
    faults.once(ApiKey::Produce, Fault::LoseAnswer);
    faults.once(ApiKey::Produce, Fault::Refuse(ResponseError::DuplicateSequenceNumber));
    assert_eq!(publish(&producer, "there").await, Ok(Receipt { partition: 0, offset: None }));
    assert_eq!(publish(&producer, "the next").await.unwrap().offset, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_out_of_time_and_may_be_written_is_left_and_a_new_epoch_begins() {
    let config = ProducerConfig::default().with_timeout(Duration::from_millis(600));
    let (cluster, _client, producer) = started(config).await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::LoseAnswer);
    let error = publish(&producer, "too late").await.unwrap_err();
    assert!(error.possibly_written(), "{error}");
    cluster.broker().faults().clear();
    eventually("the next is taken", async || publish(&producer, "the next").await.ok()).await;
    let log = heads(&cluster).await;
    let (id, ..) = log[0];
    assert_eq!(log, [(id, 0, 0, 1), (id, 0, 1, 1), (id, 1, 0, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_refused_before_its_deadline_is_not_sent_after_it() {
    let config = ProducerConfig::default().with_timeout(Duration::from_millis(600));
    let (cluster, _client, producer) = started(config).await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::Refuse(ResponseError::NotEnoughReplicas));
    let error = publish(&producer, "refused").await.unwrap_err();
    assert!(!error.possibly_written(), "{error}");
    cluster.broker().faults().clear();
    eventually("the next is taken", async || publish(&producer, "the next").await.ok()).await;
    assert_eq!(cluster.broker().end_offset(&cluster.topic, 0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_batch_that_was_too_large_are_in_the_log_once_whatever_answers_are_lost() {
    let config =
        ProducerConfig::default().with_batch_max_bytes(8 << 20).with_timeout(Duration::from_secs(20));
    let (cluster, _client, producer) = started(config).await;
    let values = (0..40_u8).map(|number| vec![number; 100_000]);
    let gathered = publish_together((&cluster, &producer), values, || {
        let faults = cluster.broker().faults();
        // Each second answer is lost.
        for _ in 0..4 {
            faults.once(ApiKey::Produce, Fault::Delay(Duration::ZERO));
            faults.once(ApiKey::Produce, Fault::LoseAnswer);
        }
    })
    .await;
    let offsets: Vec<_> = gathered.into_iter().map(|receipt| receipt.unwrap().offset).collect();
    assert_eq!(offsets, (2..42).map(Some).collect::<Vec<_>>());
    assert_eq!(cluster.broker().end_offset(&cluster.topic, 0), 42);
    let log = heads(&cluster).await;
    assert!(log.len() > 4, "it was split: {log:?}");
    // Each record kept the number that it had in the whole batch.
    assert!(log.iter().all(|(_, epoch, ..)| *epoch == 0), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_after_one_that_is_refused_are_in_a_new_epoch() {
    let config = ProducerConfig::default().with_batch_max_bytes(8 << 20);
    let (cluster, _client, producer) = started(config).await;
    let values = [1_000, 2_000_000, 1_000].map(|size| vec![b'x'; size]);
    let gathered = publish_together((&cluster, &producer), values, || ()).await;
    assert!(matches!(gathered[1], Err(PublishError::TooLarge(_))), "{gathered:?}");
    let offsets = [&gathered[0], &gathered[2]].map(|receipt| receipt.as_ref().unwrap().offset);
    assert_eq!(offsets, [Some(2), Some(3)]);
    let epochs: Vec<_> =
        heads(&cluster).await.into_iter().map(|(_, epoch, number, _)| (epoch, number)).collect();
    assert_eq!(epochs, [(0, 0), (0, 1), (0, 2), (1, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_has_no_producer_id_at_hand_is_asked_again_and_nothing_fails() {
    let cluster = TestCluster::embedded().await;
    let faults = cluster.broker().faults();
    faults.times(ApiKey::InitProducerId, Fault::Refuse(ResponseError::CoordinatorLoadInProgress), 3);
    let client = cluster.client();
    let producer = producer(&client, ProducerConfig::default());
    publish(&producer, "v").await.unwrap();
    assert_eq!(faults.count(ApiKey::InitProducerId), 4);
    assert_eq!(faults.count(ApiKey::Produce), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_gives_no_producer_id_is_written_to_without_and_is_not_asked_each_time() {
    let cluster = TestCluster::embedded().await;
    let refusal = ResponseError::ClusterAuthorizationFailed;
    cluster.broker().faults().always(ApiKey::InitProducerId, Fault::Refuse(refusal));
    let producer = producer(&cluster.client(), ProducerConfig::default());
    for _ in 0..5 {
        publish(&producer, "v").await.unwrap();
    }
    assert_eq!(heads(&cluster).await, vec![(-1, -1, -1, 1); 5]);
    assert_eq!(cluster.broker().faults().count(ApiKey::InitProducerId), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_takes_no_producer_id_is_written_to_without() {
    // By a broker before Kafka 2.8 whose ACLs changed, and by a topic in an old format.
    for refusal in [ResponseError::ClusterAuthorizationFailed, ResponseError::UnsupportedForMessageFormat] {
        let (cluster, _client, producer) = started(ProducerConfig::default()).await;
        cluster.broker().faults().once(ApiKey::Produce, Fault::Refuse(refusal));
        publish(&producer, "without").await.unwrap();
        publish(&producer, "without").await.unwrap();
        let ids: Vec<_> = heads(&cluster).await.into_iter().map(|(id, ..)| id >= 0).collect();
        assert_eq!(ids, [true, false, false], "{refusal}");
        assert_eq!(cluster.broker().faults().count(ApiKey::InitProducerId), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_has_no_id_yet_or_fails_is_asked_again() {
    for refusal in [ResponseError::CoordinatorLoadInProgress, ResponseError::UnknownServerError] {
        let cluster = TestCluster::embedded().await;
        cluster.broker().faults().times(ApiKey::InitProducerId, Fault::Refuse(refusal), 2);
        let producer = producer(&cluster.client(), ProducerConfig::default());
        publish(&producer, "v").await.unwrap();
        assert!(heads(&cluster).await[0].0 >= 0, "{refusal}");
    }
}

/// The rules that the producer relies on, tried with requests by hand.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_know_a_batch_by_its_numbers_refuse_a_part_of_it_and_fence_the_epoch_before() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    // Written to by nobody else: the numbers are in partition 0 alone.
    let topic = client.topic();
    eventually("the topic is there", async || (topic.partitions() == 3).then_some(())).await;
    let mut leader = cluster.leader(0).await;
    // A broker that has just started gets the ids that it gives from the controller.
    let asked = eventually("the broker gives an id", async || {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let asked = cluster.leader(0).await.call(&request, 0..=4).await.unwrap();
        (asked.error_code == 0).then_some(asked)
    })
    .await;
    let id = asked.producer_id.0;
    assert_eq!(asked.producer_epoch, 0);
    let mut send = async |values: &[&str], epoch, number| {
        let batch = Batch::of(values).by_producer(id, epoch, number, false).encode();
        let answer = leader.call(&cluster.produce_request(0, batch, None), 3..=7).await.unwrap();
        let result = &answer.responses[0].partition_responses[0];
        match ResponseError::try_from_code(result.error_code) {
            None => Ok(result.base_offset),
            Some(error) => Err(error),
        }
    };
    assert_eq!(send(&["a", "b", "c", "d"], 0, 0).await, Ok(0));
    assert_eq!(send(&["a", "b", "c", "d"], 0, 0).await, Ok(0), "a repeat");
    // Parts of a batch that is there, as after a split.
    assert_eq!(send(&["a", "b"], 0, 0).await, Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(send(&["c", "d"], 0, 2).await, Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(send(&["f"], 0, 5).await, Err(ResponseError::OutOfOrderSequenceNumber), "number 4 is missing");
    // A client gives itself the next epoch, and begins at 0.
    assert_eq!(send(&["e"], 1, 4).await, Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(send(&["e"], 1, 0).await, Ok(4));
    assert_eq!(send(&["late"], 0, 4).await, Err(ResponseError::InvalidProducerEpoch));
    assert_eq!(send(&["f"], 1, 1).await, Ok(5));
}
