//! The answers of a coordinator and of a cluster, and the words of a group's members about themselves to their leader.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use highwater_kafka::{
    group::{Assignment, Subscriber, assign_cooperative_sticky, assign_range},
    internals::decode,
};
use kafka_protocol::{
    messages::{
        ApiVersionsResponse, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse,
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, CreateTopicsResponse,
        DescribeConfigsResponse, DescribeGroupsResponse, FindCoordinatorResponse, HeartbeatResponse,
        JoinGroupResponse, LeaveGroupResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse,
        ResponseHeader, SyncGroupResponse,
    },
    protocol::{Decodable, Message},
};

type Assign = fn(&[Subscriber], &BTreeMap<String, usize>) -> Assignment;

const KINDS: [fn(&[u8], u8); 18] = [
    answer::<ApiVersionsResponse>,
    answer::<ConsumerGroupHeartbeatResponse>,
    answer::<ConsumerProtocolAssignment>,
    answer::<CreateTopicsResponse>,
    answer::<DescribeConfigsResponse>,
    answer::<FindCoordinatorResponse>,
    answer::<HeartbeatResponse>,
    answer::<JoinGroupResponse>,
    answer::<LeaveGroupResponse>,
    answer::<MetadataResponse>,
    answer::<OffsetCommitResponse>,
    answer::<OffsetFetchResponse>,
    answer::<SyncGroupResponse>,
    answer::<ResponseHeader>,
    answer::<ConsumerProtocolSubscription>,
    members,
    answer::<DescribeGroupsResponse>,
    answer::<ConsumerGroupDescribeResponse>,
];

/// The first byte says what it is, the second one in which version.
pub fn group(data: &[u8]) {
    let [kind, version, bytes @ ..] = data else { return };
    KINDS[usize::from(*kind) % KINDS.len()](bytes, *version);
}

fn answer<M: Decodable + Message>(bytes: &[u8], version: u8) {
    let versions = M::VERSIONS.max - M::VERSIONS.min + 1;
    let version = M::VERSIONS.min + i16::from(version) % versions;
    let _read = decode::<M>(Bytes::copy_from_slice(bytes), version);
}

/// Subscriptions, a byte for the length before each: whatever they say, every partition that anyone wants goes to
/// one member, and to one who wants it.
fn members(mut bytes: &[u8], version: u8) {
    let mut subscribers = Vec::new();
    while let [length, rest @ ..] = bytes {
        let (subscription, rest) = rest.split_at(rest.len().min((*length).into()));
        bytes = rest;
        let subscription = Bytes::copy_from_slice(subscription);
        let read = decode::<ConsumerProtocolSubscription>(subscription, (version % 4).into());
        let Ok(read) = read else { continue };
        let owned = read.owned_partitions.iter().flat_map(|owned| {
            owned.partitions.iter().map(|partition| (owned.topic.as_str().to_owned(), *partition))
        });
        subscribers.push(Subscriber {
            member: format!("member {}", subscribers.len()),
            instance: None,
            topics: read.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            owned: owned.collect(),
            generation: read.generation_id,
        });
    }
    let wanted: BTreeSet<_> = subscribers.iter().flat_map(|subscriber| subscriber.topics.clone()).collect();
    let partitions: BTreeMap<_, _> = wanted.iter().cloned().zip((1..=5).cycle()).collect();
    let mut every: Vec<_> = partitions
        .iter()
        .flat_map(|(topic, count)| (0..*count as i32).map(move |partition| (topic.clone(), partition)))
        .collect();
    every.sort();
    for (assign, all_at_once) in
        [(assign_range as Assign, true), (assign_cooperative_sticky as Assign, false)]
    {
        let assignment = assign(&subscribers, &partitions);
        let mut given = Vec::new();
        for subscriber in &subscribers {
            for (topic, partitions) in assignment.get(&subscriber.member).into_iter().flatten() {
                assert!(partitions.is_empty() || subscriber.topics.contains(topic));
                given.extend(partitions.iter().map(|partition| (topic.clone(), *partition)));
            }
        }
        given.sort();
        let before = given.len();
        given.dedup();
        assert_eq!(given.len(), before, "a partition is given to two");
        // A partition that moves is first given up, and only then given.
        assert!(if all_at_once { given == every } else { given.iter().all(|one| every.contains(one)) });
    }
}
