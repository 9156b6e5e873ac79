//! Finding a cluster whose addresses change, do not answer, or belong to other brokers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use highwater_kafka::{Producer, PublishError, Publisher};
use highwater_kafka_broker::{Broker, Options};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::producing::message;
use crate::support::{Client, TestCluster, eventually};

/// More than any of it takes, and far less than what a call may take that nobody answers.
const SOON: Duration = Duration::from_secs(2);

/// An address that leads to a broker, for as long as this lives.
struct Alias {
    address: String,
    task: JoinHandle<()>,
}

impl Alias {
    async fn of(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let broker = broker.to_owned();
        let task = tokio::spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let broker = broker.clone();
                ways.spawn(async move {
                    let mut there = TcpStream::connect(broker).await.unwrap();
                    let _ended = copy_bidirectional(&mut client, &mut there).await;
                });
            }
        });
        Self { address, task }
    }

    /// Its connections break, and none is made any more.
    async fn end(self) {
        self.task.abort();
        let _aborted = self.task.await;
    }
}

/// A port on which nothing listens.
async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn published(client: &Client) -> Arc<Producer> {
    let producer = client.producer_within(client.topic(), Duration::from_secs(10));
    producer.publish(message("k", "v")).await.unwrap();
    producer
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_the_cluster_named_are_asked_when_the_only_address_that_was_given_is_gone() {
    let mut cluster = TestCluster::embedded().await;
    let alias = Alias::of(&cluster.brokers[0]).await;
    cluster.brokers = vec![alias.address.clone()];
    let client = cluster.client();
    let producer = published(&client).await;
    alias.end().await;
    // Every connection breaks: each way has to be found again.
    let broker = cluster.embedded.as_mut().unwrap();
    broker.suspend();
    broker.resume().await.unwrap();
    let began = Instant::now();
    producer.publish(message("k", "v")).await.unwrap();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // A first metadata request and a group join find it in the same way.
    client
        .producer(client.topic_named(&format!("{}-other", cluster.topic), 1))
        .publish(message("k", "v"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_addresses_of_the_settings_are_gone_back_to_when_none_that_the_cluster_named_answers() {
    let mut cluster = TestCluster::embedded().await;
    let port = nobody().await;
    cluster.brokers.push(format!("127.0.0.1:{port}"));
    let client = cluster.client();
    let producer = published(&client).await;
    // The cluster goes on elsewhere: at the second address, which no broker has named.
    cluster.embedded.as_mut().unwrap().suspend();
    let _elsewhere = Broker::start(Options { port, ..Options::default() }).await.unwrap();
    eventually("it is written to", async || producer.publish(message("k", "v")).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_holds_nobody_up_who_looks_for_any_broker() {
    let mut cluster = TestCluster::embedded().await;
    // The system takes connections for it, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.brokers.insert(0, silent.local_addr().unwrap().to_string());
    for _ in 0..2 {
        let began = Instant::now();
        published(&cluster.client()).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_given_to_another_cluster_is_not_taken_for_ours() {
    let mut cluster = TestCluster::embedded().await;
    let (before, after) = (cluster.brokers[0].clone(), nobody().await);
    let alias = Alias::of(&before).await;
    cluster.brokers = vec![alias.address.clone(), format!("127.0.0.1:{after}")];
    let client = cluster.client();
    let producer = published(&client).await;
    // Ours is at the second address from now on, and somebody else where it was.
    alias.end().await;
    drop(cluster.embedded.take());
    let port = before.rsplit(':').next().unwrap().parse().unwrap();
    let options = Options { port, cluster_id: "stranger".to_owned(), ..Options::default() };
    let stranger = eventually("the port is free", async || Broker::start(options.clone()).await.ok()).await;
    let ours = Broker::start(Options { port: after, ..Options::default() }).await.unwrap();
    let written =
        eventually("it is written to", async || producer.publish(message("k", "v")).await.ok()).await;
    assert_eq!(ours.end_offset(&cluster.topic, written.partition), written.offset.unwrap() + 1);
    assert_eq!(stranger.end_offset(&cluster.topic, written.partition), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_broker_what_is_published_is_refused_in_a_moment() {
    let mut cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = published(&client).await;
    cluster.embedded.as_mut().unwrap().suspend();
    for _ in 0..2 {
        let began = Instant::now();
        let refused = producer.publish(message("k", "v")).await.unwrap_err();
        assert!(
            matches!(refused, PublishError::Unavailable { .. } | PublishError::CircuitOpen(_)),
            "{refused:?}"
        );
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    let unknown = client.topic_named(&format!("{}-other", cluster.topic), 1);
    let began = Instant::now();
    client.producer_within(unknown, Duration::from_secs(10)).publish(message("k", "v")).await.unwrap_err();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_for_less_than_a_moment_costs_no_refusal() {
    let mut cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let producer = published(&client).await;
    let broker = cluster.embedded.as_mut().unwrap();
    broker.suspend();
    let waiting = tokio::spawn({
        let producer = Arc::clone(&producer);
        async move { producer.publish(message("k", "v")).await }
    });
    eventually("it was tried", async || (producer.metrics().retries > 0).then_some(())).await;
    broker.resume().await.unwrap();
    waiting.await.unwrap().unwrap();
}
