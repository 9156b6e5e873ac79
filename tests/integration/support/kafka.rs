//! Direct access to Kafka, past the code under test: logs by rskafka, offsets by hand-made requests.

use std::{collections::BTreeMap, time::Duration};

use highwater_kafka::{ClusterConfig, wire::Connection};
use kafka_protocol::{
    messages::{
        CreatePartitionsRequest, FindCoordinatorRequest, GroupId, MetadataRequest, OffsetFetchRequest,
        TopicName, create_partitions_request::CreatePartitionsTopic,
        offset_fetch_request::OffsetFetchRequestTopic,
    },
    protocol::StrBytes,
};
use rskafka::{
    client::{
        Client, ClientBuilder,
        partition::{OffsetAt, PartitionClient, UnknownTopicHandling},
    },
    record::RecordAndOffset,
};

use super::{TestCluster, eventually};

impl TestCluster {
    /// All records of a topic, by partition and offset.
    pub(crate) async fn records(&self, topic: &str) -> Vec<(i32, RecordAndOffset)> {
        let client = self.rskafka().await;
        let mut found = Vec::new();
        for partition in partitions_of(&client, topic).await {
            let log = open(&client, topic, partition).await;
            let mut next = log.get_offset(OffsetAt::Earliest).await.unwrap();
            let end = log.get_offset(OffsetAt::Latest).await.unwrap();
            while next < end {
                let (records, _) = log.fetch_records(next, 1..16_000_000, 1_000).await.unwrap();
                next = records.last().map_or(next, |record| record.offset + 1);
                found.extend(records.into_iter().map(|record| (partition, record)));
            }
        }
        found
    }

    /// The end of each partition of the tests' topic that has records.
    pub(crate) async fn ends(&self) -> BTreeMap<i32, i64> {
        let client = self.rskafka().await;
        let mut ends = BTreeMap::new();
        for partition in partitions_of(&client, &self.topic).await {
            let log = open(&client, &self.topic, partition).await;
            ends.insert(partition, log.get_offset(OffsetAt::Latest).await.unwrap());
        }
        ends.retain(|_, end| *end > 0);
        ends
    }

    /// The group's committed offsets of the tests' topic, without those at 0.
    pub(crate) async fn committed(&self) -> BTreeMap<i32, i64> {
        let find = FindCoordinatorRequest::default().with_key(StrBytes::from_string(self.group.clone()));
        let mut any = Connection::open(&self.brokers[0], &settings()).await.unwrap();
        let coordinator = any.call(&find, 0..=3).await.unwrap();
        let address = format!("{}:{}", coordinator.host.as_str(), coordinator.port);
        let mut connection = Connection::open(&address, &settings()).await.unwrap();
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name(&self.topic))
            .with_partition_indexes((0..16).collect());
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(self.group.clone())))
            .with_topics(Some(vec![topic]));
        let answer = connection.call(&request, 1..=7).await.unwrap();
        let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        partitions
            .map(|found| (found.partition_index, found.committed_offset))
            .filter(|(_, offset)| *offset > 0)
            .collect()
    }

    /// Waits until the group has committed the end of the tests' topic.
    pub(crate) async fn until_committed_to_the_end(&self) {
        eventually("the committed offsets are at the end", async || {
            (self.committed().await == self.ends().await).then_some(())
        })
        .await;
    }

    /// Gives the tests' topic more partitions.
    pub(crate) async fn create_partitions(&self, count: i32) {
        self.create_partitions_of(&self.topic, count).await;
    }

    /// Gives that topic more partitions.
    pub(crate) async fn create_partitions_of(&self, topic: &str, count: i32) {
        let mut any = Connection::open(&self.brokers[0], &settings()).await.unwrap();
        let metadata = any.call(&MetadataRequest::default().with_topics(None), 1..=9).await.unwrap();
        let of_controller =
            |broker: &&kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
                broker.node_id == metadata.controller_id
            };
        let controller = metadata.brokers.iter().find(of_controller).unwrap();
        let address = format!("{}:{}", controller.host.as_str(), controller.port);
        let mut connection = Connection::open(&address, &settings()).await.unwrap();
        let topic =
            CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = connection.call(&request, 0..=3).await.unwrap();
        assert_eq!(answer.results[0].error_code, 0, "{answer:?}");
    }

    /// A client of one partition of the tests' topic. The partition may be new: a broker learns of it after the
    /// controller created it, and rskafka fails at a broker that does not know it yet.
    pub(crate) async fn log(&self, partition: i32) -> PartitionClient {
        eventually("a broker knows the partition", async || {
            let client = self.rskafka().await;
            client.partition_client(&self.topic, partition, UnknownTopicHandling::Retry).await.ok()
        })
        .await
    }

    async fn rskafka(&self) -> Client {
        ClientBuilder::new(self.brokers.clone()).build().await.unwrap()
    }
}

pub(super) fn settings() -> ClusterConfig {
    ClusterConfig::new(Vec::new())
        .with_client_id("highwater-test".to_owned())
        .with_connect_timeout(Duration::from_secs(5))
        .with_request_timeout(Duration::from_secs(10))
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

async fn open(client: &Client, topic: &str, partition: i32) -> PartitionClient {
    client.partition_client(topic, partition, UnknownTopicHandling::Retry).await.unwrap()
}

async fn partitions_of(client: &Client, topic: &str) -> Vec<i32> {
    let topics = client.list_topics().await.unwrap();
    let found = topics.into_iter().find(|found| found.name == topic);
    found.map(|topic| topic.partitions.into_iter().collect()).unwrap_or_default()
}
