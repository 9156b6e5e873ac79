//! Streams to brokers that the application opens itself.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use highwater_kafka::{
    ByteStream, Cluster, ClusterConfig, Connector, EndOffsets, Producer, ProducerConfig, Publisher,
    StatusRegistry, Topic, TopicConfig,
};
use tokio::net::TcpStream;

use super::producing::message;
use crate::support::TestCluster;

/// A name that only the tunnel knows.
const ENTRANCE: &str = "broker.elsewhere.invalid:9092";

#[derive(Debug)]
struct Tunnel {
    exit: String,
    opened: AtomicUsize,
}

#[async_trait]
impl Connector for Tunnel {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn ByteStream>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let address = if address == ENTRANCE { &self.exit } else { address };
        Ok(Box::new(TcpStream::connect(address).await?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_opens_the_streams_to_all_brokers_those_that_ask_for_end_offsets_too() {
    let test = TestCluster::start().await;
    let tunnel = Arc::new(Tunnel { exit: test.brokers[0].clone(), opened: AtomicUsize::new(0) });
    let config = ClusterConfig::new(vec![ENTRANCE.to_owned()]).with_connector(Some(Arc::clone(&tunnel) as _));
    let (cluster, registry) = (Arc::new(Cluster::new(config).unwrap()), Arc::new(StatusRegistry::new()));
    let topic = TopicConfig::new(test.topic.as_str()).with_partitions(1);
    let topic = Topic::follow(Arc::clone(&cluster), topic, Duration::from_secs(60), Arc::clone(&registry));
    let name = Arc::clone(topic.name());
    let patient = ProducerConfig::default().with_timeout(Duration::from_secs(20));
    let producer = Producer::new(Arc::clone(&cluster), topic, patient, registry);
    producer.publish(message("k", "v")).await.unwrap();
    let before = tunnel.opened.load(Ordering::Relaxed);
    assert_eq!(EndOffsets::new(&cluster, &name, 1).fetch().await.unwrap(), [1]);
    assert!(tunnel.opened.load(Ordering::Relaxed) > before, "rskafka's own streams know no tunnel");
}
