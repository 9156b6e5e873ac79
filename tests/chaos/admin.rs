//! An admin client, past the instances and their proxies: the actions of an operator, and queries for the
//! checks.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use highwater_kafka::{ClusterConfig, wire::Connection};
use kafka_protocol::{
    ResponseError,
    messages::{
        AlterClientQuotasRequest, AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest,
        CreateTopicsRequest, DeleteTopicsRequest, ElectLeadersRequest, FindCoordinatorRequest, GroupId,
        IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
        OffsetCommitRequest, OffsetFetchRequest, TopicName,
        alter_client_quotas_request::{EntityData, EntryData, OpData},
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::CreatableTopic,
        elect_leaders_request::TopicPartitions,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        metadata_response::MetadataResponseTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
    },
    protocol::{Request, StrBytes},
};
use tokio::time::{Instant, sleep};

/// `FindCoordinator`'s word for a group.
pub(crate) const OF_GROUP: i8 = 0;
/// `FindCoordinator`'s word for a transactional id.
pub(crate) const OF_TRANSACTION: i8 = 1;
/// `ElectLeaders`' word for the first replica.
pub(crate) const PREFERRED: i8 = 0;
/// `ElectLeaders`' word for whichever replica lives.
pub(crate) const UNCLEAN: i8 = 1;
/// `ListOffsets`' word for the end.
const LATEST: i64 = -1;
/// A topic, as `ConfigResource.Type` in Java has it.
const TOPIC_RESOURCE: i8 = 2;
/// How long an operator's request may take before it is retried elsewhere.
const WITHIN: Duration = Duration::from_secs(10);

/// An operator's way to the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    addresses: Vec<String>,
}

impl Admin {
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Self { addresses }
    }

    pub(crate) async fn open(&self, address: &str) -> Result<Connection> {
        let config = ClusterConfig::new(self.addresses.clone())
            .with_client_id("chaos".to_owned())
            .with_connect_timeout(Duration::from_secs(1))
            .with_request_timeout(WITHIN);
        Ok(Connection::open(address, &config).await?)
    }

    /// A connection to some broker that answers.
    async fn any(&self, topics: Option<Vec<MetadataRequestTopic>>) -> Result<(Connection, MetadataResponse)> {
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
        let mut why = anyhow!("no brokers");
        for address in &self.addresses {
            let asked = async {
                let mut connection = self.open(address).await?;
                let known = connection.call_within(&request, 1..=12, Duration::from_secs(3)).await?;
                Ok((connection, known))
            };
            match asked.await {
                Ok(found) => return Ok(found),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Sends a request to the controller, the only broker that takes changes under ZooKeeper.
    async fn controller(&self) -> Result<Connection> {
        let (_, known) = self.any(Some(Vec::new())).await?;
        self.open(&address_of(&known, known.controller_id)?).await
    }

    async fn change<R: Request>(&self, request: &R, known: RangeInclusive<i16>) -> Result<R::Response> {
        Ok(self.controller().await?.call(request, known).await?)
    }

    pub(crate) async fn topic(&self, topic: &str) -> Result<MetadataResponseTopic> {
        let (_, known) = self.any(Some(vec![asked(topic)])).await?;
        let found = known.topics.into_iter().next().context("no topic in the answer")?;
        check("Metadata", found.error_code)?;
        Ok(found)
    }

    pub(crate) async fn partitions(&self, topic: &str) -> Result<i32> {
        Ok(i32::try_from(self.topic(topic).await?.partitions.len())?)
    }

    /// A connection to the leader of a partition.
    pub(crate) async fn leader(&self, topic: &str, partition: i32) -> Result<Connection> {
        let (_, known) = self.any(Some(vec![asked(topic)])).await?;
        let partitions = known.topics.iter().flat_map(|topic| &topic.partitions);
        let leader = partitions.into_iter().find(|found| found.partition_index == partition);
        let leader = leader.context("no such partition")?.leader_id;
        self.open(&address_of(&known, leader)?).await
    }

    /// The node that keeps a group or a transactional id, and its address.
    pub(crate) async fn coordinator(&self, key: &str, key_type: i8) -> Result<(i32, String)> {
        let request = FindCoordinatorRequest::default().with_key(text(key)).with_key_type(key_type);
        let (mut any, _) = self.any(Some(Vec::new())).await?;
        let answer = any.call(&request, 1..=3).await?;
        check("FindCoordinator", answer.error_code)?;
        Ok((answer.node_id.0, format!("{}:{}", answer.host.as_str(), answer.port)))
    }

    /// The end of each partition, markers included.
    pub(crate) async fn ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let partitions = self.topic(topic).await?.partitions;
        let mut ends = BTreeMap::new();
        for found in partitions {
            let partition = found.partition_index;
            let wanted =
                ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(LATEST);
            let wanted =
                ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
            let request =
                ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
            let answer = self.leader(topic, partition).await?.call(&request, 1..=5).await?;
            let found = answer.topics.first().and_then(|topic| topic.partitions.first());
            let found = found.context("no offsets in the answer")?;
            check("ListOffsets", found.error_code)?;
            ends.insert(partition, found.offset);
        }
        Ok(ends)
    }

    /// The group's committed offsets.
    pub(crate) async fn committed(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<BTreeMap<i32, i64>> {
        let wanted = OffsetFetchRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partition_indexes((0..partitions).collect());
        let request =
            OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![wanted]));
        let (_, address) = self.coordinator(group, OF_GROUP).await?;
        let answer = self.open(&address).await?.call(&request, 1..=7).await?;
        check("OffsetFetch", answer.error_code)?;
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let known = found.filter(|found| found.committed_offset >= 0);
        Ok(known.map(|found| (found.partition_index, found.committed_offset)).collect())
    }

    /// Commits offset 0 of each partition, for a group without members.
    pub(crate) async fn commit_beginning(&self, group: &str, topic: &str, partitions: i32) -> Result<()> {
        let wanted = (0..partitions).map(|partition| {
            OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(0)
        });
        let wanted = OffsetCommitRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(wanted.collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![wanted]);
        let (_, address) = self.coordinator(group, OF_GROUP).await?;
        let answer = self.open(&address).await?.call(&request, 2..=7).await?;
        let mut results = answer.topics.iter().flat_map(|topic| &topic.partitions);
        results.try_for_each(|result| check("OffsetCommit", result.error_code))
    }

    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        let wanted = CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(3);
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(10_000);
        let answer = self.change(&request, 2..=5).await?;
        let code = answer.topics.first().context("no topic in the answer")?.error_code;
        match check("CreateTopics", code) {
            // An instance that missed it was quicker.
            Err(_) if code == ResponseError::TopicAlreadyExists.code() => Ok(()),
            checked => checked,
        }
    }

    pub(crate) async fn delete_topic(&self, topic: &str) -> Result<()> {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![topic_name(topic)]).with_timeout_ms(10_000);
        let answer = self.change(&request, 1..=5).await?;
        check("DeleteTopics", answer.responses.first().context("no topic in the answer")?.error_code)
    }

    pub(crate) async fn add_partitions(&self, topic: &str, more: i32) -> Result<i32> {
        let count = self.partitions(topic).await? + more;
        let wanted = CreatePartitionsTopic::default()
            .with_name(topic_name(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(10_000);
        let answer = self.change(&request, 0..=3).await?;
        check("CreatePartitions", answer.results.first().context("no topic in the answer")?.error_code)?;
        Ok(count)
    }

    /// Has each of these partitions kept by those nodes, the first of which is preferred to lead.
    pub(crate) async fn reassign(&self, topic: &str, replicas: &BTreeMap<i32, Vec<i32>>) -> Result<()> {
        let partitions = replicas.iter().map(|(partition, nodes)| {
            ReassignablePartition::default()
                .with_partition_index(*partition)
                .with_replicas(Some(nodes.iter().copied().map(BrokerId).collect()))
        });
        let wanted =
            ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(partitions.collect());
        let request =
            AlterPartitionReassignmentsRequest::default().with_timeout_ms(10_000).with_topics(vec![wanted]);
        let answer = self.change(&request, 0..=0).await?;
        check("AlterPartitionReassignments", answer.error_code)?;
        for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            check("AlterPartitionReassignments", partition.error_code)?;
        }
        Ok(())
    }

    /// Elects leaders: [`PREFERRED`] or [`UNCLEAN`].
    pub(crate) async fn elect(&self, topic: &str, partitions: Vec<i32>, kind: i8) -> Result<()> {
        let wanted = TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(partitions);
        let request = ElectLeadersRequest::default()
            .with_election_type(kind)
            .with_topic_partitions(Some(vec![wanted]))
            .with_timeout_ms(10_000);
        let answer = self.change(&request, 1..=2).await?;
        check("ElectLeaders", answer.error_code)?;
        for result in answer.replica_election_results.into_iter().flat_map(|topic| topic.partition_result) {
            // Where it leads already there is nothing to elect.
            if result.error_code != ResponseError::ElectionNotNeeded.code() {
                check("ElectLeaders", result.error_code)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn configure_topic(&self, topic: &str, name: &str, value: &str) -> Result<()> {
        let config = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.change(&request, 0..=1).await?;
        check("IncrementalAlterConfigs", answer.responses.first().context("no answer")?.error_code)
    }

    /// The bytes a second that clients of that name may produce; `None` for as many as they like.
    pub(crate) async fn produce_quota(&self, client_id: &str, bytes: Option<u32>) -> Result<()> {
        let entity =
            EntityData::default().with_entity_type(text("client-id")).with_entity_name(Some(text(client_id)));
        let quota = OpData::default()
            .with_key(text("producer_byte_rate"))
            .with_value(bytes.map_or(0.0, f64::from))
            .with_remove(bytes.is_none());
        let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![quota]);
        let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
        let answer = self.change(&request, 0..=1).await?;
        check("AlterClientQuotas", answer.entries.first().context("no answer")?.error_code)
    }
}

/// Tries something until it succeeds, for at most so long.
pub(crate) async fn persistently<T>(
    what: &str,
    within: Duration,
    attempt: impl AsyncFn() -> Result<T>,
) -> Result<T> {
    let by = Instant::now() + within;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() >= by => return Err(error.context(what.to_owned())),
            Err(_) => sleep(Duration::from_millis(250)).await,
        }
    }
}

/// Kafka's text.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

pub(crate) fn check(what: &str, code: i16) -> Result<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => bail!("{what}: {error}"),
    }
}

fn asked(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic_name(topic)))
}

fn address_of(known: &MetadataResponse, node: BrokerId) -> Result<String> {
    let broker = known.brokers.iter().find(|broker| broker.node_id == node);
    let broker = broker.with_context(|| format!("broker {} is away", node.0))?;
    Ok(format!("{}:{}", broker.host.as_str(), broker.port))
}
