//! CreateTopics, DeleteTopics, CreatePartitions (`ReplicationControlManager` in Java).

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic},
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
        delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Answered, Context, text};
use crate::{
    cluster::{Image, TopicImage},
    topics::{PartitionCount, is_legal, is_legal_config},
};

/// The first version of CreateTopics with the topic's settings in the response, and the first with its id.
const TOLD_CONFIGS: i16 = 5;
const TOLD_ID: i16 = 7;

impl Answered for CreateTopicsRequest {
    async fn answer(self, context: &Context<'_>) -> CreateTopicsResponse {
        let topics = context.shared.administer(|cluster| {
            let names = self.topics.iter().map(|topic| &topic.name);
            let topics = self.topics.iter().map(|wanted| {
                let result = CreatableTopicResult::default()
                    .with_name(wanted.name.clone())
                    .with_num_partitions(-1)
                    .with_replication_factor(-1);
                if names.clone().filter(|name| **name == wanted.name).count() > 1 {
                    return result.with_error_code(ResponseError::InvalidRequest.code());
                }
                let planned = plan(&cluster.image(), wanted, context.shared.options.default_partitions);
                let Planned { partitions, replicas, configs } = match planned {
                    Err(error) => return result.with_error_code(error.code()),
                    Ok(planned) => planned,
                };
                if self.validate_only {
                    let topic = cluster.image().topic(partitions, replicas, configs);
                    return with_settings(result, &topic, context.version);
                }
                match cluster.create(&wanted.name, partitions, replicas, configs) {
                    Some(topic) => with_settings(result, &topic, context.version),
                    None => result.with_error_code(ResponseError::TopicAlreadyExists.code()),
                }
            });
            topics.collect()
        });
        CreateTopicsResponse::default().with_topics(topics)
    }

    fn refuse(&self, error: i16) -> CreateTopicsResponse {
        let topics = self.topics.iter().map(|topic| {
            CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(error)
        });
        CreateTopicsResponse::default().with_topics(topics.collect())
    }
}

/// A topic that may be created.
struct Planned {
    partitions: PartitionCount,
    replicas: usize,
    configs: BTreeMap<String, String>,
}

fn plan(image: &Image, wanted: &CreatableTopic, default_partitions: i32) -> Result<Planned, ResponseError> {
    if !is_legal(&wanted.name) {
        return Err(ResponseError::InvalidTopicException);
    }
    if image.topics.contains_key(wanted.name.as_str()) {
        return Err(ResponseError::TopicAlreadyExists);
    }
    let partitions = match (wanted.num_partitions, wanted.assignments.len()) {
        (-1, 0) => default_partitions,
        (count, 0) => count,
        (-1, assigned) => {
            // Of the only node. Among several they follow from their number.
            let alone = |assigned: &CreatableReplicaAssignment| match assigned.broker_ids[..] {
                [only] => image.nodes.len() == 1 && image.nodes.contains_key(&only.0),
                _ => false,
            };
            if !wanted.assignments.iter().all(alone) {
                return Err(ResponseError::InvalidReplicaAssignment);
            }
            i32::try_from(assigned).unwrap_or(-1)
        }
        _ => return Err(ResponseError::InvalidRequest),
    };
    let partitions = PartitionCount::new(partitions).ok_or(ResponseError::InvalidPartitions)?;
    let replicas = match usize::try_from(wanted.replication_factor) {
        Err(_) if wanted.replication_factor == -1 => image.nodes.len(),
        Ok(count @ 1..) if count <= image.nodes.len() => count,
        _ => return Err(ResponseError::InvalidReplicationFactor),
    };
    let mut configs = BTreeMap::new();
    for config in &wanted.configs {
        let value = config.value.as_ref().ok_or(ResponseError::InvalidConfig)?;
        if !is_legal_config(&config.name, value) {
            return Err(ResponseError::InvalidConfig);
        }
        configs.insert(text(&config.name), text(value));
    }
    Ok(Planned { partitions, replicas, configs })
}

fn with_settings(result: CreatableTopicResult, topic: &TopicImage, version: i16) -> CreatableTopicResult {
    if version < TOLD_CONFIGS {
        return result;
    }
    let configs = topic.all_configs().map(|(name, value, given)| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_string(name.to_owned()))
            .with_value(Some(StrBytes::from_string(value.to_owned())))
            .with_config_source(super::configs::source(given))
    });
    let id = if version < TOLD_ID { Uuid::nil() } else { topic.id };
    result
        .with_topic_id(id)
        .with_num_partitions(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(topic.replication()).unwrap_or(i16::MAX))
        .with_configs(Some(configs.collect()))
}

impl Answered for DeleteTopicsRequest {
    async fn answer(self, context: &Context<'_>) -> DeleteTopicsResponse {
        let wanted = self.topics_to_delete();
        let responses = context.shared.administer(|cluster| {
            let deleted = wanted.into_iter().map(|(name, id)| {
                let by_id = || {
                    let image = cluster.image();
                    let name = image.name_of(id)?;
                    Some(TopicName(StrBytes::from_string(name.to_owned())))
                };
                let found = name.clone().or_else(by_id);
                let deleted = found.as_ref().and_then(|name| cluster.delete(name));
                let code = match (&deleted, &name) {
                    (Some(_), _) => 0,
                    (None, Some(_)) => ResponseError::UnknownTopicOrPartition.code(),
                    (None, None) => ResponseError::UnknownTopicId.code(),
                };
                DeletableTopicResult::default()
                    .with_name(found)
                    .with_topic_id(deleted.map_or(id, |topic| topic.id))
                    .with_error_code(code)
            });
            deleted.collect()
        });
        DeleteTopicsResponse::default().with_responses(responses)
    }

    fn refuse(&self, error: i16) -> DeleteTopicsResponse {
        let responses = self.topics_to_delete().into_iter().map(|(name, id)| {
            DeletableTopicResult::default().with_name(name).with_topic_id(id).with_error_code(error)
        });
        DeleteTopicsResponse::default().with_responses(responses.collect())
    }
}

/// Names up to version 5, names or ids from version 6 on.
trait TopicsToDelete {
    fn topics_to_delete(&self) -> Vec<(Option<TopicName>, Uuid)>;
}

impl TopicsToDelete for DeleteTopicsRequest {
    fn topics_to_delete(&self) -> Vec<(Option<TopicName>, Uuid)> {
        let named = self.topic_names.iter().map(|name| (Some(name.clone()), Uuid::nil()));
        let states = self.topics.iter().map(|topic: &DeleteTopicState| (topic.name.clone(), topic.topic_id));
        named.chain(states).collect()
    }
}

impl Answered for CreatePartitionsRequest {
    async fn answer(self, context: &Context<'_>) -> CreatePartitionsResponse {
        let results = context.shared.administer(|cluster| {
            let grown = self.topics.iter().map(|wanted| {
                let error = match (cluster.partitions(&wanted.name), PartitionCount::new(wanted.count)) {
                    (0, _) => ResponseError::UnknownTopicOrPartition.code(),
                    (before, Some(count)) if count.get() > before => {
                        if !self.validate_only {
                            cluster.add_partitions(&wanted.name, count);
                        }
                        0
                    }
                    (_, _) => ResponseError::InvalidPartitions.code(),
                };
                CreatePartitionsTopicResult::default().with_name(wanted.name.clone()).with_error_code(error)
            });
            grown.collect()
        });
        CreatePartitionsResponse::default().with_results(results)
    }

    fn refuse(&self, error: i16) -> CreatePartitionsResponse {
        let results = self.topics.iter().map(|wanted| {
            CreatePartitionsTopicResult::default().with_name(wanted.name.clone()).with_error_code(error)
        });
        CreatePartitionsResponse::default().with_results(results.collect())
    }
}
