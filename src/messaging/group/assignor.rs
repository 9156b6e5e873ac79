//! The range assignor, as Java's `RangeAssignor` does it, and the consumer protocol's bytes (KIP-0, and
//! `ConsumerProtocol` in Java): so that a group can be shared with any other client.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName,
        consumer_protocol_assignment::TopicPartition,
    },
    protocol::{Decodable, Encodable, Message, StrBytes},
};

/// The assignor's name on the wire.
pub(super) const RANGE: &str = "range";
/// The class of protocols that consumers speak.
pub(super) const CONSUMER: &str = "consumer";

/// A member, as an assignor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// The id the coordinator gave it.
    pub member: String,
    /// The id it was configured with (static membership, KIP-345).
    pub instance: Option<String>,
    /// What it wants to read.
    pub topics: Vec<String>,
}

/// Partitions by topic, by member.
pub type Assignment = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// Shares out each topic's partitions in ranges: members in order (static ones first, by instance id, then
/// the others by member id), the first ones getting one more where it does not come out even.
pub fn assign_range(subscribers: &[Subscriber], partitions: &BTreeMap<String, usize>) -> Assignment {
    let mut assignment: Assignment =
        subscribers.iter().map(|subscriber| (subscriber.member.clone(), BTreeMap::new())).collect();
    for (topic, &count) in partitions {
        let mut members: Vec<_> =
            subscribers.iter().filter(|subscriber| subscriber.topics.contains(topic)).collect();
        members.sort_by_key(|member| {
            (member.instance.is_none(), member.instance.clone(), member.member.clone())
        });
        let mut first = 0;
        for (place, member) in members.iter().enumerate() {
            let share = count / members.len() + usize::from(place < count % members.len());
            let range: Vec<i32> = (first..first + share).map(|partition| partition as i32).collect();
            first += share;
            if !range.is_empty() {
                assignment.entry(member.member.clone()).or_default().insert(topic.clone(), range);
            }
        }
    }
    assignment
}

/// All topics that anyone wants.
pub(super) fn topics_of(subscribers: &[Subscriber]) -> BTreeSet<String> {
    subscribers.iter().flat_map(|subscriber| subscriber.topics.iter().cloned()).collect()
}

/// The bytes of a subscription to one topic.
pub(super) fn encode_subscription(topic: &str) -> Result<Bytes, String> {
    let topics = vec![StrBytes::from_string(topic.to_owned())];
    encode(&ConsumerProtocolSubscription::default().with_topics(topics), 1)
}

/// The topics of a member's subscription.
pub(super) fn decode_subscription(bytes: Bytes) -> Result<Vec<String>, String> {
    let subscription: ConsumerProtocolSubscription = decode(bytes)?;
    Ok(subscription.topics.iter().map(|topic| topic.as_str().to_owned()).collect())
}

/// The bytes of what one member gets.
pub(super) fn encode_assignment(topics: &BTreeMap<String, Vec<i32>>) -> Result<Bytes, String> {
    let assigned = topics.iter().map(|(topic, partitions)| {
        TopicPartition::default()
            .with_topic(TopicName(StrBytes::from_string(topic.clone())))
            .with_partitions(partitions.clone())
    });
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(assigned.collect()), 0)
}

/// The partitions of `topic` in an assignment; no bytes at all are no partitions.
pub(super) fn decode_assignment(bytes: Bytes, topic: &str) -> Result<BTreeSet<i32>, String> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(bytes)?;
    let ours = assignment.assigned_partitions.into_iter().filter(|assigned| assigned.topic.as_str() == topic);
    Ok(ours.flat_map(|assigned| assigned.partitions).collect())
}

/// A version, then the message in that version.
fn encode<M: Encodable>(message: &M, version: i16) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(&mut bytes, version).map_err(|error| error.to_string())?;
    Ok(bytes.freeze())
}

/// A newer version than we know only appends fields (`ConsumerProtocol.deserializeVersion`).
fn decode<M: Decodable + Message>(mut bytes: Bytes) -> Result<M, String> {
    let version = bytes.try_get_i16().map_err(|error| error.to_string())?;
    if version < M::VERSIONS.min {
        return Err(format!("version {version}"));
    }
    M::decode(&mut bytes, version.min(M::VERSIONS.max)).map_err(|error| error.to_string())
}
