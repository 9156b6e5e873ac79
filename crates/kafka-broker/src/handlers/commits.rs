//! Committed offsets: OffsetCommit, OffsetFetch, TxnOffsetCommit.

use std::{collections::BTreeMap, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
        txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
    },
    protocol::StrBytes,
};
use tokio::time::Instant;

use super::{Answered, Context, code, text};
use crate::{
    groups::{CommitRequest, Committed, Group, MemberIdentity},
    state::State,
    transactions::Identity,
};

/// The longest time that a coordinator's record may take to be replicated (`offsets.commit.timeout.ms`).
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest metadata of an offset (`offset.metadata.max.bytes`).
const MOST_METADATA: usize = 4096;
/// The first version of OffsetCommit with an error for a group that does not exist (KIP-848).
const TELLS_NO_GROUP: i16 = 9;

/// A commit without a member creates an unknown group (`handleCommitOffsets`).
fn may_commit(
    state: &mut State,
    group: &str,
    identity: MemberIdentity<'_>,
    by: CommitRequest,
) -> Result<(), ResponseError> {
    match state.groups.get_mut(group) {
        Some(group) => group.may_commit(identity, by),
        None if identity.generation >= 0 => Err(match by {
            CommitRequest::Plain(TELLS_NO_GROUP..) => ResponseError::GroupIdNotFound,
            CommitRequest::Plain(_) | CommitRequest::Transactional => ResponseError::IllegalGeneration,
        }),
        None => {
            let mut new = Group::default();
            new.may_commit(identity, by)?;
            state.groups.insert(group.to_owned(), new);
            Ok(())
        }
    }
}

/// The commit of one partition.
fn position(
    state: &State,
    topic: &TopicName,
    partition: i32,
    position: (i64, i32, &Option<StrBytes>),
) -> Result<Committed, ResponseError> {
    let (offset, leader_epoch, metadata) = position;
    let metadata = metadata.as_ref().map(text).unwrap_or_default();
    if state.partition(topic, partition).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if metadata.len() > MOST_METADATA {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(Committed { offset, leader_epoch, metadata })
}

impl Answered for OffsetCommitRequest {
    async fn answer(self, context: &Context<'_>) -> OffsetCommitResponse {
        let identity = MemberIdentity {
            member: &self.member_id,
            instance: self.group_instance_id.as_deref(),
            generation: self.generation_id_or_member_epoch,
        };
        let mut written = None;
        let (answer, epoch) = context.shared.change(|state| {
            let epoch = state.coordination.epoch();
            if let Err(error) =
                may_commit(state, &self.group_id, identity, CommitRequest::Plain(context.version))
            {
                return (self.refuse(error.code()), epoch);
            }
            let topics = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|wanted| {
                    let index = wanted.partition_index;
                    let committed =
                        (wanted.committed_offset, wanted.committed_leader_epoch, &wanted.committed_metadata);
                    let committed = position(state, &topic.name, index, committed).map(|committed| {
                        let log = &mut state.coordination;
                        written = Some(log.commit(&self.group_id, &topic.name, index, Some(committed)));
                    });
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(index)
                        .with_error_code(code(committed))
                });
                OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            (OffsetCommitResponse::default().with_topics(topics.collect()), epoch)
        });
        let Some(written) = written else { return answer };
        let replicated = context.shared.until(Instant::now() + COMMIT_TIMEOUT, |state| {
            let log = &state.coordination;
            log.check_since(epoch).map(|()| log.has_replicated(written).then_some(())).transpose()
        });
        match replicated.await {
            Some(Ok(())) => answer,
            Some(Err(error)) => self.refuse(error.code()),
            None => self.refuse(ResponseError::CoordinatorNotAvailable.code()),
        }
    }

    fn refuse(&self, error: i16) -> OffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error)
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }
}

impl Answered for TxnOffsetCommitRequest {
    async fn answer(self, context: &Context<'_>) -> TxnOffsetCommitResponse {
        let producer = Identity { producer_id: self.producer_id.0, epoch: self.producer_epoch };
        let identity = MemberIdentity {
            member: &self.member_id,
            instance: self.group_instance_id.as_deref(),
            generation: self.generation_id,
        };
        context.shared.change(|state| {
            let group = self.group_id.as_str();
            let mut allowed = state.transactions.may_commit(&self.transactional_id, producer, group);
            // Without a member the transaction alone counts (up to version 2, before KIP-447).
            if allowed.is_ok() && (identity.generation >= 0 || !identity.member.is_empty()) {
                allowed = may_commit(state, group, identity, CommitRequest::Transactional);
            }
            if let Err(error) = allowed {
                return self.refuse(error.code());
            }
            let topics = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|wanted| {
                    let index = wanted.partition_index;
                    let committed =
                        (wanted.committed_offset, wanted.committed_leader_epoch, &wanted.committed_metadata);
                    let committed = position(state, &topic.name, index, committed).map(|committed| {
                        let group = state.groups.entry(group.to_owned()).or_default();
                        group.offsets.commit_later(producer.producer_id, &topic.name, index, committed);
                    });
                    TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(index)
                        .with_error_code(code(committed))
                });
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            TxnOffsetCommitResponse::default().with_topics(topics.collect())
        })
    }

    fn refuse(&self, error: i16) -> TxnOffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error)
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        TxnOffsetCommitResponse::default().with_topics(topics.collect())
    }
}

type PartitionsByTopic = BTreeMap<TopicName, Vec<i32>>;
type OffsetsByTopic = BTreeMap<TopicName, Vec<OffsetFetchResponsePartition>>;

/// The committed offsets of the given partitions, or of all that have one.
fn committed(
    state: &State,
    group: &str,
    wanted: Option<PartitionsByTopic>,
    only_stable: bool,
) -> OffsetsByTopic {
    let group = state.groups.get(group);
    let wanted = wanted.unwrap_or_else(|| {
        let mut all = PartitionsByTopic::new();
        for (topic, partition) in group.into_iter().flat_map(|group| group.offsets.partitions()) {
            let topic = TopicName(StrBytes::from_string(topic.to_owned()));
            all.entry(topic).or_default().push(partition);
        }
        all
    });
    let found = |topic: &TopicName, partition: i32| {
        let answer = OffsetFetchResponsePartition::default()
            .with_partition_index(partition)
            .with_committed_offset(-1)
            .with_metadata(Some(StrBytes::default()));
        let Some(offsets) = group.map(|group| &group.offsets) else { return answer };
        if only_stable && offsets.is_unstable(topic, partition) {
            return answer.with_error_code(ResponseError::UnstableOffsetCommit.code());
        }
        let Some(committed) = offsets.committed(topic, partition) else { return answer };
        answer
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(StrBytes::from_string(committed.metadata.clone())))
    };
    let all = wanted.into_iter().map(|(topic, partitions)| {
        let found = partitions.into_iter().map(|partition| found(&topic, partition)).collect();
        (topic, found)
    });
    all.collect()
}

/// A group's response in the form of version 8, which has other names.
fn of_group(found: OffsetsByTopic) -> Vec<OffsetFetchResponseTopics> {
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|found| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(found.partition_index)
                .with_committed_offset(found.committed_offset)
                .with_committed_leader_epoch(found.committed_leader_epoch)
                .with_metadata(found.metadata)
                .with_error_code(found.error_code)
        });
        OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
    });
    topics.collect()
}

/// Checks a request that names a member: it has to be a member of the group, of its epoch (from version 9 on;
/// `validateOffsetFetch`).
fn may_fetch(state: &State, wanted: &OffsetFetchRequestGroup) -> Result<(), ResponseError> {
    let group = state.groups.get(wanted.group_id.as_str()).and_then(|group| group.consumer());
    match (group, &wanted.member_id) {
        (Some(group), Some(member)) => group.may_fetch(member, wanted.member_epoch),
        _ => Ok(()),
    }
}

/// The first version of OffsetFetch for several groups (KIP-709).
const FETCHES_GROUPS: i16 = 8;

impl Answered for OffsetFetchRequest {
    async fn answer(self, context: &Context<'_>) -> OffsetFetchResponse {
        context.shared.with(|state| {
            if context.version < FETCHES_GROUPS {
                let wanted = self.topics.map(|topics| {
                    topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
                });
                let found = committed(state, &self.group_id, wanted, self.require_stable);
                let topics = found.into_iter().map(|(name, partitions)| {
                    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
                });
                return OffsetFetchResponse::default().with_topics(topics.collect());
            }
            let groups = self.groups.into_iter().map(|group| {
                if let Err(error) = may_fetch(state, &group) {
                    return OffsetFetchResponseGroup::default()
                        .with_group_id(group.group_id)
                        .with_error_code(error.code());
                }
                let wanted = group.topics.map(|topics| {
                    topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
                });
                let found = committed(state, &group.group_id, wanted, self.require_stable);
                OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(of_group(found))
            });
            OffsetFetchResponse::default().with_groups(groups.collect())
        })
    }

    fn refuse(&self, error: i16) -> OffsetFetchResponse {
        if !self.groups.is_empty() {
            let groups = self.groups.iter().map(|group| {
                OffsetFetchResponseGroup::default()
                    .with_group_id(group.group_id.clone())
                    .with_error_code(error)
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        // Version 1 has no top-level error, so each partition has it.
        let topics = self.topics.iter().flatten().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(-1)
                    .with_metadata(Some(StrBytes::default()))
                    .with_error_code(error)
            });
            OffsetFetchResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetFetchResponse::default().with_error_code(error).with_topics(topics.collect())
    }
}
