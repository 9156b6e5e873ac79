//! The leaders of the tests' topic, which a test can move as an operator would.

use std::time::{Duration, Instant};

use highwater_kafka::wire::Connection;
use kafka_protocol::{
    messages::{
        AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, MetadataRequest, MetadataResponse,
        TopicName,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        elect_leaders_request::TopicPartitions,
    },
    protocol::StrBytes,
};

use super::{TestCluster, kafka::settings};

const PATIENCE: Duration = Duration::from_secs(60);

impl TestCluster {
    /// The number of the broker that leads that partition.
    pub(crate) async fn leader_of(&self, partition: i32) -> i32 {
        self.replicas(partition).await.0.0
    }

    /// Has another broker lead that partition: another replica is preferred, and is elected.
    pub(crate) async fn move_leader(&self, partition: i32) {
        let (before, mut replicas) = self.replicas(partition).await;
        let place = replicas.iter().position(|replica| *replica == before).unwrap();
        replicas.rotate_left(place + 1);
        let preferred =
            ReassignablePartition::default().with_partition_index(partition).with_replicas(Some(replicas));
        let topic =
            ReassignableTopic::default().with_name(self.named_topic()).with_partitions(vec![preferred]);
        let prefer =
            AlterPartitionReassignmentsRequest::default().with_timeout_ms(10_000).with_topics(vec![topic]);
        let mut controller = self.controller().await;
        let answer = controller.call(&prefer, 0..=0).await.unwrap();
        assert_eq!((answer.error_code, answer.responses[0].partitions[0].error_code), (0, 0), "{answer:?}");
        let topic =
            TopicPartitions::default().with_topic(self.named_topic()).with_partitions(vec![partition]);
        let elect =
            ElectLeadersRequest::default().with_timeout_ms(10_000).with_topic_partitions(Some(vec![topic]));
        let began = Instant::now();
        while self.leader_of(partition).await == before.0 {
            assert!(began.elapsed() < PATIENCE, "no other broker leads partition {partition}");
            // A refusal says that it is not to be preferred yet, or that it leads already.
            controller.call(&elect, 1..=2).await.unwrap();
        }
    }

    async fn replicas(&self, partition: i32) -> (BrokerId, Vec<BrokerId>) {
        let metadata = self.metadata().await;
        let topic = metadata.topics.into_iter().find(|topic| topic.name == Some(self.named_topic())).unwrap();
        let found = topic.partitions.into_iter().find(|found| found.partition_index == partition).unwrap();
        (found.leader_id, found.replica_nodes)
    }

    async fn controller(&self) -> Connection {
        let metadata = self.metadata().await;
        let found = metadata.brokers.iter().find(|broker| broker.node_id == metadata.controller_id).unwrap();
        let address = format!("{}:{}", found.host.as_str(), found.port);
        Connection::open(&address, &settings()).await.unwrap()
    }

    async fn metadata(&self) -> MetadataResponse {
        let request = MetadataRequest::default().with_topics(None);
        for address in self.brokers.iter().cycle().take(6) {
            let mut settings = settings();
            settings.connect_timeout = Duration::from_secs(1);
            if let Ok(mut connection) = Connection::open(address, &settings).await {
                return connection.call(&request, 1..=9).await.unwrap();
            }
        }
        panic!("no broker answers");
    }

    fn named_topic(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.topic.clone()))
    }
}
