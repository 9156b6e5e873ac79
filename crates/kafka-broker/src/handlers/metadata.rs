//! Metadata.

use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Answered, Context, host_and_port};
use crate::{
    cluster::{Cluster, Image, Leadership, TopicImage},
    topics::{PartitionCount, is_legal},
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
        if let (Some(partitions), Some(names)) = (create_with, &names) {
            let names = names.iter().filter_map(|topic| Some(topic.name.as_ref()?.as_str()));
            create_missing(context, names, partitions);
        }
        let image = context.shared.with(|state| Arc::clone(state.image()));
        let topics = match names {
            None => image.topics.iter().map(|(name, topic)| found(name, topic)).collect(),
            Some(topics) => {
                let topics = topics.into_iter().map(|topic| match topic.name {
                    Some(name) => find(&image, name),
                    None => find_by_id(&image, topic.topic_id),
                });
                topics.collect()
            }
        };
        about_cluster(context).with_topics(topics)
    }

    fn refuse(&self, error: i16) -> MetadataResponse {
        let asked = self.topics.iter().flatten();
        let topics = asked.map(|topic| {
            MetadataResponseTopic::default().with_name(topic.name.clone()).with_error_code(error)
        });
        MetadataResponse::default().with_controller_id((-1).into()).with_topics(topics.collect())
    }

    /// Errors are about topics: the brokers are told all the same.
    fn refuse_in(&self, context: &Context<'_>, error: i16) -> MetadataResponse {
        about_cluster(context).with_topics(self.refuse(error).topics)
    }
}

/// The part of the response that is about no topic.
fn about_cluster(context: &Context<'_>) -> MetadataResponse {
    let (image, node) = context.shared.with(|state| (Arc::clone(state.image()), state.node));
    let brokers = image.live().map(|(node, address)| {
        let (host, port) = host_and_port(address);
        MetadataResponseBroker::default().with_node_id(node.into()).with_host(host).with_port(port)
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(context.shared.options.cluster_id.clone())))
        .with_controller_id(node.into())
}

/// Creates the topics that this node does not know, with a replica on each node.
fn create_missing<'a>(
    context: &Context<'_>,
    names: impl Iterator<Item = &'a str>,
    partitions: PartitionCount,
) {
    let missing = context.shared.with(|state| {
        let is_missing = |name: &&str| is_legal(name) && !state.image().topics.contains_key(*name);
        let missing = names.filter(is_missing);
        missing.map(str::to_owned).collect::<Vec<_>>()
    });
    if missing.is_empty() {
        return;
    }
    context.shared.administer(|cluster: &Cluster| {
        for name in &missing {
            cluster.create(name, partitions, usize::MAX, BTreeMap::new());
        }
    });
}

fn find(image: &Image, name: TopicName) -> MetadataResponseTopic {
    if let Some(topic) = image.topics.get(name.as_str()) {
        return found(&name, topic);
    }
    let error = match is_legal(&name) {
        true => ResponseError::UnknownTopicOrPartition,
        false => ResponseError::InvalidTopicException,
    };
    MetadataResponseTopic::default().with_name(Some(name)).with_error_code(error.code())
}

/// A topic by its id (KIP-516). librdkafka asks so about the topics that KIP-848 assigns to it.
fn find_by_id(image: &Image, id: Uuid) -> MetadataResponseTopic {
    match image.topics.iter().find(|(_, topic)| topic.id == id) {
        Some((name, topic)) => found(name, topic),
        None => MetadataResponseTopic::default()
            .with_name(None)
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn found(name: &str, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions =
        (0..).zip(&topic.partitions).map(|(index, known)| led(known).with_partition_index(index));
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

fn led(known: &Leadership) -> MetadataResponsePartition {
    let error = known.leader.is_none().then(|| ResponseError::LeaderNotAvailable.code());
    MetadataResponsePartition::default()
        .with_error_code(error.unwrap_or_default())
        .with_leader_id(known.leader.unwrap_or(-1).into())
        .with_leader_epoch(known.epoch)
        .with_replica_nodes(known.replicas.iter().map(|node| BrokerId(*node)).collect())
        .with_isr_nodes(known.in_sync.iter().map(|node| BrokerId(*node)).collect())
}
