//! A topic that is deleted beneath its users.

use std::sync::Arc;

use highwater_kafka_broker::{Broker, Cluster, Fault, Options};
use kafka_protocol::{ResponseError, messages::ApiKey};
use tokio::net::TcpListener;

use crate::support::{Batch, Recorder, SESSION, TestCluster, eventually};

/// Two nodes, of which the first takes connections. The second one is only heard of.
async fn two_nodes() -> (Cluster, TestCluster) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = listener.local_addr().unwrap();
    let nodes = Cluster::new([(1, first), (2, "127.0.0.1:9".parse().unwrap())], SESSION);
    let broker = Broker::in_cluster(&nodes, 1, first, Options::default());
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            broker.serve(stream, peer);
        }
    });
    (nodes, TestCluster::named(vec![first.to_string()], None))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_created_again_while_a_broker_is_down_has_as_many_replicas_as_before() {
    let (nodes, cluster) = two_nodes().await;
    let replicas =
        async || cluster.described().await.partitions.iter().map(|found| found.replica_nodes.len()).min();
    let mut topic = cluster.client().topic();
    assert_eq!(topic.known_partitions().await, 3);
    assert_eq!(replicas().await, Some(2));
    let before = nodes.topic_id(&cluster.topic);

    nodes.fence(2);
    nodes.delete_topic(&cluster.topic, false);
    let is_another = || nodes.topic_id(&cluster.topic).filter(|id| Some(*id) != before);
    eventually("it is there again", async || is_another()).await;
    assert_eq!(replicas().await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_again_before_it_could_be_read_is_read_from_the_beginning_of_the_next_one() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    let recorder = Arc::new(Recorder::default());
    let consumer = cluster.client().consumer(Arc::clone(&recorder) as _);
    cluster.produce(0, Batch::of(&["of the first"]).encode()).await;
    cluster.reaches_lag_0(1).await;

    let faults = cluster.broker().faults();
    let asked = faults.count(ApiKey::ListOffsets);
    faults.always(ApiKey::ListOffsets, Fault::Refuse(ResponseError::NotLeaderOrFollower));
    cluster.make_topic_again(1).await;
    let is_asked = || (faults.count(ApiKey::ListOffsets) > asked + 2).then_some(());
    eventually("the next topic is known by its id", async || is_asked()).await;
    cluster.make_topic_again(1).await;
    faults.clear();
    cluster.produce(0, Batch::of(&["of the third"]).encode()).await;
    eventually("it is read", async || (recorder.values() == ["of the first", "of the third"]).then_some(()))
        .await;
    consumer.stop().await;
}
