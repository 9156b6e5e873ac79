//! Hand-made requests to the cluster under test, as another client would send them.

use std::time::Duration;

use bytes::Bytes;
use highwater_kafka::{ClusterConfig, wire::Connection};
use kafka_protocol::{
    ResponseError,
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FindCoordinatorRequest, GroupId, ListOffsetsRequest,
        MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, TopicName, TransactionalId,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        metadata_response::MetadataResponseTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};

use uuid::Uuid;

use super::{TestCluster, eventually};

/// `FindCoordinator`'s word for a group.
pub(crate) const GROUP: i8 = 0;
/// `FindCoordinator`'s word for a transactional id.
pub(crate) const TRANSACTION: i8 = 1;
/// Requests that a broker holds on purpose take longer than others.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to `host:port`.
pub(crate) async fn open(address: &str) -> Connection {
    let config = ClusterConfig::new(vec![address.to_owned()])
        .with_client_id("another-client".to_owned())
        .with_connect_timeout(Duration::from_secs(5))
        .with_request_timeout(PATIENCE);
    Connection::open(address, &config).await.unwrap()
}

/// Kafka's text.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl TestCluster {
    pub(crate) fn topic_name(&self) -> TopicName {
        TopicName(text(&self.topic))
    }

    pub(crate) fn group_id(&self) -> GroupId {
        GroupId(text(&self.group))
    }

    /// A connection to some broker.
    pub(crate) async fn connect(&self) -> Connection {
        open(&self.brokers[0]).await
    }

    /// A connection to the leader of one of the topic's partitions.
    pub(crate) async fn leader(&self, partition: i32) -> Connection {
        let topic = MetadataRequestTopic::default().with_name(Some(self.topic_name()));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        let address = eventually("the partition has a leader", async || {
            let answer = self.connect().await.call(&request, 4..=9).await.unwrap();
            let partitions = &answer.topics.first()?.partitions;
            let leader = partitions.iter().find(|found| found.partition_index == partition)?.leader_id;
            let broker = answer.brokers.iter().find(|broker| broker.node_id == leader)?;
            Some(format!("{}:{}", broker.host.as_str(), broker.port))
        })
        .await;
        open(&address).await
    }

    /// A connection to the coordinator of a group or of a transactional id.
    pub(crate) async fn coordinator(&self, key: &str, key_type: i8) -> Connection {
        let request = FindCoordinatorRequest::default().with_key(text(key)).with_key_type(key_type);
        let address = eventually("there is a coordinator", async || {
            let answer = self.connect().await.call(&request, 1..=3).await.unwrap();
            (answer.error_code == 0).then(|| format!("{}:{}", answer.host.as_str(), answer.port))
        })
        .await;
        open(&address).await
    }

    /// Creates the test's topic with these settings.
    pub(crate) async fn create_topic(&self, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(self.topic_name())
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        eventually("the topic is created", async || {
            // Under ZooKeeper only the controller does it: whoever else is asked says so.
            for broker in &self.brokers {
                let answer = open(broker).await.call(&request, 2..=5).await.unwrap();
                let result = &answer.topics[0];
                match ResponseError::try_from_code(result.error_code) {
                    None | Some(ResponseError::TopicAlreadyExists) => return Some(()),
                    Some(ResponseError::NotController) => {}
                    Some(error) => panic!("{error}: {:?}", result.error_message),
                }
            }
            None
        })
        .await;
    }

    /// The topic's id, which it does not keep when it is made again.
    pub(crate) async fn topic_id(&self) -> Uuid {
        self.described().await.topic_id
    }

    /// The topic, as a broker describes it.
    pub(crate) async fn described(&self) -> MetadataResponseTopic {
        let topic = MetadataRequestTopic::default().with_name(Some(self.topic_name()));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        let answer = self.connect().await.call(&request, 12..=12).await.unwrap();
        answer.topics.into_iter().next().unwrap()
    }

    /// Deletes the test's topic and makes another of its name. Members that miss it may be faster.
    pub(crate) async fn make_topic_again(&self, partitions: i32) {
        let before = self.topic_id().await;
        // By its id: where a broker has not heard of the new one yet, that one is not deleted in its place.
        let old = DeleteTopicState::default().with_name(None).with_topic_id(before);
        let delete = DeleteTopicsRequest::default().with_topics(vec![old]).with_timeout_ms(10_000);
        eventually("it is another topic", async || {
            // Only the controller deletes; the others say so.
            for broker in &self.brokers {
                open(broker).await.call(&delete, 6..=6).await.unwrap();
            }
            self.create_topic(partitions, &[]).await;
            let now = self.topic_id().await;
            (!now.is_nil() && now != before).then_some(())
        })
        .await;
    }

    /// The group's committed offset of a partition, with its metadata.
    pub(crate) async fn noted_of(&self, partition: i32) -> (i64, String) {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(self.topic_name())
            .with_partition_indexes(vec![partition]);
        let request =
            OffsetFetchRequest::default().with_group_id(self.group_id()).with_topics(Some(vec![topic]));
        let mut coordinator = self.coordinator(&self.group, GROUP).await;
        let answer = coordinator.call(&request, 1..=7).await.unwrap();
        let found = &answer.topics[0].partitions[0];
        (found.committed_offset, found.metadata.as_deref().unwrap_or_default().to_owned())
    }

    /// Commits for a group without members, as an administrator does.
    pub(crate) async fn commit_noted(&self, partition: i32, (offset, note): &(i64, String)) {
        self.commit(partition, *offset, |wanted| wanted.with_committed_metadata(Some(text(note)))).await;
    }

    /// Commits for a group without members, with a leader epoch and without metadata, as others' members do.
    pub(crate) async fn commit_in_epoch(&self, partition: i32, offset: i64, epoch: i32) {
        self.commit(partition, offset, |wanted| wanted.with_committed_leader_epoch(epoch)).await;
    }

    async fn commit(
        &self,
        partition: i32,
        offset: i64,
        with: impl Fn(OffsetCommitRequestPartition) -> OffsetCommitRequestPartition,
    ) {
        let wanted = OffsetCommitRequestPartition::default().with_partition_index(partition);
        let wanted = with(wanted.with_committed_offset(offset));
        let topic =
            OffsetCommitRequestTopic::default().with_name(self.topic_name()).with_partitions(vec![wanted]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        eventually("the coordinator takes the offset", async || {
            let mut coordinator = self.coordinator(&self.group, GROUP).await;
            let answer = coordinator.call(&request, 2..=8).await.unwrap();
            (answer.topics[0].partitions[0].error_code == 0).then_some(())
        })
        .await;
    }

    /// Sends a record batch as it is, with acks=all; its base offset, or the broker's refusal.
    pub(crate) async fn try_produce(&self, partition: i32, batch: Bytes) -> Result<i64, ResponseError> {
        let request = self.produce_request(partition, batch, None);
        eventually("the partition takes a batch", async || {
            let answer = self.leader(partition).await.call(&request, 3..=7).await.unwrap();
            let result = &answer.responses[0].partition_responses[0];
            match ResponseError::try_from_code(result.error_code) {
                None => Some(Ok(result.base_offset)),
                Some(ResponseError::UnknownTopicOrPartition | ResponseError::NotLeaderOrFollower) => None,
                Some(error) => Some(Err(error)),
            }
        })
        .await
    }

    pub(crate) async fn produce(&self, partition: i32, batch: Bytes) -> i64 {
        self.try_produce(partition, batch).await.unwrap()
    }

    pub(crate) fn produce_request(
        &self,
        partition: i32,
        batch: Bytes,
        transactional_id: Option<&str>,
    ) -> ProduceRequest {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(self.topic_name()).with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic])
    }

    /// The end of a partition's log, markers and open transactions included.
    pub(crate) async fn end_of(&self, partition: i32) -> i64 {
        const LATEST: i64 = -1;
        let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(LATEST);
        let topic = ListOffsetsTopic::default().with_name(self.topic_name()).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let answer = self.leader(partition).await.call(&request, 1..=5).await.unwrap();
        answer.topics[0].partitions[0].offset
    }

    /// The group's committed offset of a partition; -1 without one.
    pub(crate) async fn committed_of(&self, partition: i32) -> i64 {
        self.committed_with_epoch(partition).await.0
    }

    /// The leader epoch of the group's committed offset of a partition; -1 without one.
    pub(crate) async fn committed_epoch_of(&self, partition: i32) -> i32 {
        self.committed_with_epoch(partition).await.1
    }

    async fn committed_with_epoch(&self, partition: i32) -> (i64, i32) {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(self.topic_name())
            .with_partition_indexes(vec![partition]);
        let request =
            OffsetFetchRequest::default().with_group_id(self.group_id()).with_topics(Some(vec![topic]));
        // A coordinator that has just taken the group over, and still loads it, says so in place of the topics.
        eventually("the coordinator tells what is committed", async || {
            let mut coordinator = self.coordinator(&self.group, GROUP).await;
            let answer = coordinator.call(&request, 1..=7).await.unwrap();
            let found = answer.topics.first()?.partitions.first()?;
            Some((found.committed_offset, found.committed_leader_epoch))
        })
        .await
    }

    /// Waits until the group has committed each of these partitions to its end.
    pub(crate) async fn reaches_lag_0(&self, partitions: i32) {
        for partition in 0..partitions {
            eventually(&format!("partition {partition} has lag 0"), async || {
                let end = self.end_of(partition).await;
                // An empty partition may also have its start committed: that is 0 too.
                (self.committed_of(partition).await.max(0) == end).then_some(())
            })
            .await;
        }
    }
}
