//! The bytes of subscriptions and assignments (`ConsumerProtocol` in Java).

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName,
        consumer_protocol_assignment::TopicPartition as Assigned,
        consumer_protocol_subscription::TopicPartition as Owned,
    },
    protocol::{Decodable, Encodable, Message, StrBytes},
};

use super::{Assignor, Subscriber};
use crate::wire;

/// The newest version of a subscription: it has the owned partitions and their generation (KIP-792).
const SUBSCRIPTION_VERSION: i16 = 3;
/// The generation of a member that does not tell it.
const NO_GENERATION: i32 = -1;

/// Encodes a subscription to one topic, for one assignor, by a member that owns `owned`.
pub(in super::super) fn encode_subscription(
    assignor: Assignor,
    topic: &str,
    owned: &BTreeSet<i32>,
    generation: i32,
) -> Result<Bytes, String> {
    let name = StrBytes::from_string(topic.to_owned());
    let mut subscription = ConsumerProtocolSubscription::default()
        .with_topics(vec![name.clone()])
        .with_generation_id(generation)
        .with_user_data(user_data(assignor, generation));
    if !owned.is_empty() {
        let partitions = owned.iter().copied().collect();
        subscription.owned_partitions =
            vec![Owned::default().with_topic(TopicName(name)).with_partitions(partitions)];
    }
    encode(&subscription, SUBSCRIPTION_VERSION)
}

/// `CooperativeStickyAssignor.subscriptionUserData`: the generation, for leaders that know no field for it.
fn user_data(assignor: Assignor, generation: i32) -> Option<Bytes> {
    match assignor {
        Assignor::Range => None,
        Assignor::CooperativeSticky => Some(Bytes::copy_from_slice(&generation.to_be_bytes())),
    }
}

/// Decodes a member's subscription.
pub(in super::super) fn decode_subscription(
    member: &str,
    instance: Option<&str>,
    bytes: Bytes,
) -> Result<Subscriber, String> {
    let version = bytes.clone().try_get_i16().map_err(|error| error.to_string())?;
    let subscription: ConsumerProtocolSubscription = decode(bytes)?;
    let owned = subscription.owned_partitions.iter().flat_map(|owned| {
        let topic = owned.topic.as_str();
        owned.partitions.iter().map(move |partition| (topic.to_owned(), *partition))
    });
    // From version 2 on there is a field for it.
    let generation = match version {
        ..2 => subscription.user_data.and_then(|mut data| data.try_get_i32().ok()).unwrap_or(NO_GENERATION),
        _ => subscription.generation_id,
    };
    Ok(Subscriber {
        member: member.to_owned(),
        instance: instance.map(str::to_owned),
        topics: subscription.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
        owned: owned.collect(),
        generation,
    })
}

/// Encodes the assignment of one member.
pub(in super::super) fn encode_assignment(topics: &BTreeMap<String, Vec<i32>>) -> Result<Bytes, String> {
    let assigned = topics.iter().map(|(topic, partitions)| {
        Assigned::default()
            .with_topic(TopicName(StrBytes::from_string(topic.clone())))
            .with_partitions(partitions.clone())
    });
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(assigned.collect()), 0)
}

/// Decodes the partitions of `topic` in an assignment; no bytes are no partitions.
pub(in super::super) fn decode_assignment(bytes: Bytes, topic: &str) -> Result<BTreeSet<i32>, String> {
    Ok(decode_assignments(bytes)?.remove(topic).unwrap_or_default())
}

/// Decodes all partitions in an assignment, by topic.
pub(in super::super) fn decode_assignments(bytes: Bytes) -> Result<BTreeMap<String, BTreeSet<i32>>, String> {
    let mut topics = BTreeMap::<String, BTreeSet<i32>>::new();
    if bytes.is_empty() {
        return Ok(topics);
    }
    let assignment: ConsumerProtocolAssignment = decode(bytes)?;
    for assigned in assignment.assigned_partitions {
        topics.entry(assigned.topic.as_str().to_owned()).or_default().extend(assigned.partitions);
    }
    Ok(topics)
}

/// Encodes the version, then the message in that version.
fn encode<M: Encodable>(message: &M, version: i16) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(&mut bytes, version).map_err(|error| error.to_string())?;
    Ok(bytes.freeze())
}

/// A version newer than the known ones only appends fields (`ConsumerProtocol.deserializeVersion`).
fn decode<M: Decodable + Message>(mut bytes: Bytes) -> Result<M, String> {
    let version = bytes.try_get_i16().map_err(|error| error.to_string())?;
    if version < M::VERSIONS.min {
        return Err(format!("version {version}"));
    }
    wire::decode(bytes, version.min(M::VERSIONS.max)).map_err(|error| error.to_string())
}
