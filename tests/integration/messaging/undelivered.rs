//! The producer without acknowledgements: each caller gets the true outcome.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use highwater_kafka::{Producer, PublishError, Publisher};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::producing::message;
use crate::support::{Client, TestCluster, eventually};

const PATIENCE: Duration = Duration::from_millis(600);

/// A producer that has written one record, to the partition that the key `k` belongs to.
async fn warm(client: &Client) -> Arc<Producer> {
    let producer = client.producer_within(client.topic(), PATIENCE);
    eventually("a record is written", async || producer.publish(message("k", "first")).await.ok()).await;
    producer
}

fn possibly_written(result: &Result<highwater_kafka::Receipt, PublishError>) -> Option<bool> {
    match result {
        Err(PublishError::Unavailable { possibly_written, .. }) => Some(*possibly_written),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_never_answered_may_have_been_written_and_what_waited_behind_it_was_not() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::Stall);
    let requests = cluster.broker().faults().count(ApiKey::Produce);

    let first = tokio::spawn({
        let producer = Arc::clone(&producer);
        async move { producer.publish(message("k", "on its way")).await }
    });
    eventually("it is on its way", async || {
        (cluster.broker().faults().count(ApiKey::Produce) > requests).then_some(())
    })
    .await;
    let behind = producer.publish(message("k", "behind it")).await;
    let first = first.await.unwrap();

    assert_eq!(possibly_written(&first), Some(true), "{first:?}");
    assert_eq!(possibly_written(&behind), Some(false), "{behind:?}");
    cluster.broker().faults().clear();
    eventually("it writes again", async || producer.publish(message("k", "last")).await.ok()).await;
    let values: Vec<_> = cluster
        .records(producer.topic().name())
        .await
        .into_iter()
        .map(|(_, record)| String::from_utf8(record.record.value.unwrap()).unwrap())
        .collect();
    assert!(!values.contains(&"behind it".to_owned()), "{values:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_was_written_when_no_leader_was_ever_reached() {
    let mut cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    cluster.embedded.as_mut().unwrap().suspend();
    // The broken connection is found out by the first, which may have been written for all that is known.
    let first = producer.publish(message("k", "found out")).await;
    assert!(possibly_written(&first).is_some(), "{first:?}");
    let second = producer.publish(message("k", "not sent")).await;
    assert_eq!(possibly_written(&second), Some(false), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_can_come_after_the_append_does_not_pass_for_not_written() {
    for error in [ResponseError::NotLeaderOrFollower, ResponseError::NotEnoughReplicasAfterAppend] {
        let cluster = TestCluster::embedded().await;
        let client = cluster.client();
        let producer = warm(&client).await;
        cluster.broker().faults().always(ApiKey::Produce, Fault::Refuse(error));
        let told = producer.publish(message("k", "v")).await;
        assert_eq!(possibly_written(&told), Some(true), "{error:?}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_before_the_append_passes_for_not_written_with_its_reason() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::Refuse(ResponseError::NotEnoughReplicas));
    let told = producer.publish(message("k", "v")).await;
    assert_eq!(possibly_written(&told), Some(false), "{told:?}");
    assert!(told.unwrap_err().to_string().contains("NotEnoughReplicas"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_write_a_record_is_refused_at_once_and_it_is_said_what_is_missing() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    let requests = cluster.broker().faults().count(ApiKey::Produce);
    let refusal = Fault::Refuse(ResponseError::TopicAuthorizationFailed);
    cluster.broker().faults().once(ApiKey::Produce, refusal);
    let told = producer.publish(message("k", "v")).await;
    let Err(PublishError::Forbidden(reason)) = &told else { panic!("{told:?}") };
    assert!(reason.contains("ACL WRITE") && reason.contains(&cluster.topic), "{reason}");
    assert_eq!(cluster.broker().faults().count(ApiKey::Produce), requests + 1, "tried once");
    let status = client.registry.watch();
    assert!(status.borrow().kafka.error.as_ref().is_some_and(|error| error.contains("ACL WRITE")));
    producer.publish(message("k", "v")).await.unwrap();
    assert!(status.borrow().kafka.connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kafka_refuses_does_not_take_its_batch_with_it() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    // The batch is refused, then its first half and the first quarter: one record, if eight went together.
    cluster.broker().faults().times(ApiKey::Produce, Fault::Refuse(ResponseError::InvalidRecord), 4);
    let results = join_all((0..8).map(|i| producer.publish(message("k", format!("{i}"))))).await;
    let refused = results.iter().filter(|result| matches!(result, Err(PublishError::Refused(_)))).count();
    let written = results.iter().filter(|result| result.is_ok()).count();
    assert!((1..=2).contains(&refused) && refused + written == 8, "{results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_no_records_refuses_a_batch_as_a_whole() {
    for error in [ResponseError::InvalidTopicException, ResponseError::UnsupportedForMessageFormat] {
        let cluster = TestCluster::embedded().await;
        let client = cluster.client();
        let producer = warm(&client).await;
        let faults = cluster.broker().faults();
        faults.always(ApiKey::Produce, Fault::Refuse(error));
        let before = faults.count(ApiKey::Produce);
        let results = join_all((0..8).map(|i| producer.publish(message("k", format!("{i}"))))).await;
        let refused = |result: &_| matches!(result, Err(PublishError::Forbidden(reason)) if reason.contains("takes no records"));
        assert!(results.iter().all(refused), "{error:?}: {results:?}");
        let requests = faults.count(ApiKey::Produce) - before;
        assert!(requests <= 2, "{error:?}: a batch is not split, and there were {requests} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_not_retriable_is_told_at_once_and_the_record_may_be_written() {
    for error in [ResponseError::UnknownServerError, ResponseError::Unknown(999)] {
        let cluster = TestCluster::embedded().await;
        let client = cluster.client();
        let producer = warm(&client).await;
        let faults = cluster.broker().faults();
        let before = faults.count(ApiKey::Produce);
        faults.once(ApiKey::Produce, Fault::Refuse(error));
        let told = producer.publish(message("k", "v")).await;
        assert_eq!(possibly_written(&told), Some(true), "{error:?}: {told:?}");
        assert_eq!(faults.count(ApiKey::Produce) - before, 1, "{error:?}: tried once");
        producer.publish(message("k", "v")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_in_writing_is_over_when_kafka_is_back_though_nobody_publishes() {
    let mut cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = warm(&client).await;
    cluster.embedded.as_mut().unwrap().suspend();
    producer.publish(message("k", "in vain")).await.unwrap_err();
    let status = client.registry.watch();
    assert!(!status.borrow().kafka.connected);
    cluster.embedded.as_mut().unwrap().resume().await.unwrap();
    eventually("connected again", async || status.borrow().kafka.connected.then_some(())).await;
}
