//! What there is, and making more of it: Metadata, CreateTopics, DeleteTopics, CreatePartitions,
//! DescribeConfigs.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
        CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest,
        DescribeConfigsResponse, MetadataRequest, MetadataResponse, TopicName,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::CreatableTopic,
        create_topics_response::CreatableTopicResult,
        delete_topics_response::DeletableTopicResult,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};

use super::{Answered, Context};
use crate::embedded::{
    log::PartitionLog,
    state::{DEFAULT_CONFIGS, State, Topic},
};

/// The only node there is.
pub(super) const NODE: BrokerId = BrokerId(1);
/// `ConfigResource.Type` in Java.
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;

impl Answered for MetadataRequest {
    async fn answer(self, context: &Context<'_>) -> Option<MetadataResponse> {
        // Up to version 3 clients cannot say that they want nothing created; in version 0 none means all.
        let may_create = context.version < 4 || self.allow_auto_topic_creation;
        let names: Option<Vec<TopicName>> = match self.topics {
            Some(topics) if context.version > 0 || !topics.is_empty() => {
                Some(topics.into_iter().filter_map(|topic| topic.name).collect())
            }
            _ => None,
        };
        let topics = match names {
            None => context
                .shared
                .with(|state| state.topics.iter().map(|(name, topic)| found(name, topic)).collect()),
            Some(names) => context.shared.change(|state| {
                names.iter().map(|name| find_or_create(state, name, may_create)).collect::<Vec<_>>()
            }),
        };
        let address = context.shared.address();
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(StrBytes::from_string(address.ip().to_string()))
            .with_port(address.port().into());
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(StrBytes::from_static_str("embedded")))
            .with_controller_id(NODE)
            .with_topics(topics);
        Some(answer)
    }

    fn refuse(&self, error: i16) -> MetadataResponse {
        let asked = self.topics.iter().flatten();
        let topics = asked.map(|topic| {
            MetadataResponseTopic::default().with_name(topic.name.clone()).with_error_code(error)
        });
        MetadataResponse::default().with_controller_id(NODE).with_topics(topics.collect())
    }
}

fn find_or_create(state: &mut State, name: &TopicName, may_create: bool) -> MetadataResponseTopic {
    let failed = |error: ResponseError| {
        MetadataResponseTopic::default().with_name(Some(name.clone())).with_error_code(error.code())
    };
    if !state.topics.contains_key(name.as_str()) {
        if !is_legal(name) {
            return failed(ResponseError::InvalidTopicException);
        }
        if !may_create {
            return failed(ResponseError::UnknownTopicOrPartition);
        }
        let topic = Topic::new(state.default_partitions.max(1) as usize, BTreeMap::new());
        state.topics.insert(name.as_str().to_owned(), topic);
    }
    match state.topics.get(name.as_str()) {
        Some(topic) => found(name, topic),
        None => failed(ResponseError::UnknownTopicOrPartition),
    }
}

fn found(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions.len()).map(|partition| {
        MetadataResponsePartition::default()
            .with_partition_index(partition as i32)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

/// As `org.apache.kafka.common.internals.Topic.validate` has it.
fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

impl Answered for CreateTopicsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<CreateTopicsResponse> {
        let topics = context.shared.change(|state| {
            self.topics.iter().map(|topic| create(state, topic, self.validate_only)).collect()
        });
        Some(CreateTopicsResponse::default().with_topics(topics))
    }

    fn refuse(&self, error: i16) -> CreateTopicsResponse {
        let topics = self.topics.iter().map(|topic| {
            CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(error)
        });
        CreateTopicsResponse::default().with_topics(topics.collect())
    }
}

fn create(state: &mut State, wanted: &CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(wanted.name.clone());
    let partitions =
        if wanted.num_partitions == -1 { state.default_partitions } else { wanted.num_partitions };
    let error = if !is_legal(&wanted.name) {
        Some(ResponseError::InvalidTopicException)
    } else if state.topics.contains_key(wanted.name.as_str()) {
        Some(ResponseError::TopicAlreadyExists)
    } else if partitions < 1 {
        Some(ResponseError::InvalidPartitions)
    } else if !matches!(wanted.replication_factor, -1 | 1) {
        Some(ResponseError::InvalidReplicationFactor)
    } else {
        None
    };
    if let Some(error) = error {
        return result.with_error_code(error.code());
    }
    if !validate_only {
        let configs = wanted.configs.iter().filter_map(|config| {
            Some((config.name.as_str().to_owned(), config.value.as_ref()?.as_str().to_owned()))
        });
        let topic = Topic::new(partitions as usize, configs.collect());
        state.topics.insert(wanted.name.as_str().to_owned(), topic);
    }
    result.with_num_partitions(partitions).with_replication_factor(1)
}

impl Answered for DeleteTopicsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<DeleteTopicsResponse> {
        let responses = context.shared.change(|state| {
            let deleted = self.topic_names.iter().map(|name| {
                let known = state.topics.remove(name.as_str()).is_some();
                let code = if known { 0 } else { ResponseError::UnknownTopicOrPartition.code() };
                DeletableTopicResult::default().with_name(Some(name.clone())).with_error_code(code)
            });
            deleted.collect()
        });
        Some(DeleteTopicsResponse::default().with_responses(responses))
    }

    fn refuse(&self, error: i16) -> DeleteTopicsResponse {
        let responses = self
            .topic_names
            .iter()
            .map(|name| DeletableTopicResult::default().with_name(Some(name.clone())).with_error_code(error));
        DeleteTopicsResponse::default().with_responses(responses.collect())
    }
}

impl Answered for CreatePartitionsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<CreatePartitionsResponse> {
        let results = context.shared.change(|state| {
            let grown = self.topics.iter().map(|wanted| {
                let code = match state.topics.get_mut(wanted.name.as_str()) {
                    None => ResponseError::UnknownTopicOrPartition.code(),
                    Some(topic) if wanted.count as usize <= topic.partitions.len() => {
                        ResponseError::InvalidPartitions.code()
                    }
                    Some(topic) => {
                        topic.partitions.resize_with(wanted.count as usize, PartitionLog::default);
                        0
                    }
                };
                CreatePartitionsTopicResult::default().with_name(wanted.name.clone()).with_error_code(code)
            });
            grown.collect()
        });
        Some(CreatePartitionsResponse::default().with_results(results))
    }

    fn refuse(&self, error: i16) -> CreatePartitionsResponse {
        let results = self.topics.iter().map(|wanted| {
            CreatePartitionsTopicResult::default().with_name(wanted.name.clone()).with_error_code(error)
        });
        CreatePartitionsResponse::default().with_results(results.collect())
    }
}

impl Answered for DescribeConfigsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<DescribeConfigsResponse> {
        let results = context.shared.with(|state| {
            let described = self.resources.iter().map(|resource| {
                let result = DescribeConfigsResult::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone());
                let wanted = |name: &str| {
                    resource
                        .configuration_keys
                        .as_ref()
                        .is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
                };
                let topic = state.topics.get(resource.resource_name.as_str());
                match (resource.resource_type, topic) {
                    (TOPIC_RESOURCE, Some(topic)) => {
                        let configs =
                            DEFAULT_CONFIGS.iter().filter(|(name, _)| wanted(name)).map(|(name, default)| {
                                let value = topic.config(name).unwrap_or(default);
                                DescribeConfigsResourceResult::default()
                                    .with_name(StrBytes::from_static_str(name))
                                    .with_value(Some(StrBytes::from_string(value.to_owned())))
                            });
                        result.with_configs(configs.collect())
                    }
                    (BROKER_RESOURCE, _) => result,
                    _ => result.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                }
            });
            described.collect()
        });
        Some(DescribeConfigsResponse::default().with_results(results))
    }

    fn refuse(&self, error: i16) -> DescribeConfigsResponse {
        let results = self.resources.iter().map(|resource| {
            DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_code(error)
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}
