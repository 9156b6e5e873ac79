//! Metadata.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        MetadataRequest, MetadataResponse, TopicName,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};

use uuid::Uuid;

use super::{Answered, Context, NODE};
use crate::{
    state::State,
    topics::{PartitionCount, Topic, is_legal},
};

/// From this version on clients can forbid that a topic is created.
const MAY_FORBID_CREATION: i16 = 4;

impl Answered for MetadataRequest {
    async fn answer(self, context: &Context<'_>) -> MetadataResponse {
        let options = &context.shared.options;
        let allowed = context.version < MAY_FORBID_CREATION || self.allow_auto_topic_creation;
        let create_with =
            PartitionCount::new(options.default_partitions).filter(|_| allowed && options.auto_create_topics);
        // In version 0 a list of none means all.
        let names = self.topics.filter(|topics| context.version > 0 || !topics.is_empty());
        let topics = match names {
            None => context
                .shared
                .with(|state| state.topics.iter().map(|(name, topic)| found(name, topic)).collect()),
            Some(topics) => context.shared.change(|state| {
                let topics = topics.into_iter().map(|topic| match topic.name {
                    Some(name) => find_or_create(state, name, create_with),
                    None => find_by_id(state, topic.topic_id),
                });
                topics.collect()
            }),
        };
        let (host, port) = context.here();
        let broker =
            MetadataResponseBroker::default().with_node_id(NODE).with_host(host).with_port(port.into());
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(StrBytes::from_string(options.cluster_id.clone())))
            .with_controller_id(NODE)
            .with_topics(topics)
    }

    fn refuse(&self, error: i16) -> MetadataResponse {
        let asked = self.topics.iter().flatten();
        let topics = asked.map(|topic| {
            MetadataResponseTopic::default().with_name(topic.name.clone()).with_error_code(error)
        });
        MetadataResponse::default().with_controller_id(NODE).with_topics(topics.collect())
    }
}

fn find_or_create(
    state: &mut State,
    name: TopicName,
    create_with: Option<PartitionCount>,
) -> MetadataResponseTopic {
    let error = match (state.topics.get(name.as_str()), create_with) {
        (Some(topic), _) => return found(&name, topic),
        (None, _) if !is_legal(&name) => ResponseError::InvalidTopicException,
        (None, None) => ResponseError::UnknownTopicOrPartition,
        (None, Some(partitions)) => {
            let topic = Topic::new(partitions, BTreeMap::new());
            return found(&name, state.topics.entry(name.as_str().to_owned()).or_insert(topic));
        }
    };
    MetadataResponseTopic::default().with_name(Some(name)).with_error_code(error.code())
}

/// By its id (KIP-516), as librdkafka asks about what it is assigned by KIP-848.
fn find_by_id(state: &State, id: Uuid) -> MetadataResponseTopic {
    match state.name_of(id).and_then(|name| Some((name, state.topics.get(name)?))) {
        Some((name, topic)) => found(name, topic),
        None => MetadataResponseTopic::default()
            .with_name(None)
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn found(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(index, log)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE)
            .with_leader_epoch(log.epoch())
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}
