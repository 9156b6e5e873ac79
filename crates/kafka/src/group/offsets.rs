//! OffsetFetch and OffsetCommit, fenced by the generation.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetFetchRequest, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
    },
    protocol::StrBytes,
};

use super::{Coordinator, MemberGeneration};
use crate::wire::WireError;

/// The version of OffsetFetch that has `require_stable` and is for one group.
const STABLE: RangeInclusive<i16> = 7..=7;
/// Versions before it that have an error for the whole request.
const UNSTABLE: RangeInclusive<i16> = 2..=6;

/// A committed offset, or one to commit (`OffsetAndMetadata` in Java).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetAndMetadata {
    /// The next offset to be processed.
    pub(crate) offset: i64,
    /// The leader epoch of the record before it, if known (KIP-320).
    pub(crate) leader_epoch: Option<i32>,
    pub(crate) metadata: String,
}

/// The committed offsets of some partitions.
#[derive(Debug, Default)]
pub(crate) struct CommittedOffsets {
    /// The offset of each partition that has one.
    pub(crate) offsets: BTreeMap<i32, OffsetAndMetadata>,
    /// The partitions whose offset an open transaction may change: they are to be asked for again.
    pub(crate) unstable: BTreeSet<i32>,
}

impl CommittedOffsets {
    /// The offsets; an error if one of them is unstable.
    pub(crate) fn stable(self) -> Result<BTreeMap<i32, OffsetAndMetadata>, WireError> {
        if self.unstable.is_empty() { Ok(self.offsets) } else { Err(UNSTABLE_OFFSET) }
    }
}

/// The error of a partition whose offset an open transaction may change.
pub(crate) const UNSTABLE_OFFSET: WireError =
    WireError::Refused { what: "OffsetFetch", error: ResponseError::UnstableOffsetCommit };

impl Coordinator {
    /// The committed offsets of these partitions.
    pub(crate) async fn committed(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Result<CommittedOffsets, WireError> {
        const WHAT: &str = "OffsetFetch";
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name(topic))
            .with_partition_indexes(partitions.into_iter().collect());
        // KIP-447: an offset in an open transaction is an error that passes, in place of the offset before it. A start
        // resolved from that earlier offset would be committed over it.
        let mut request = OffsetFetchRequest::default()
            .with_group_id(self.group())
            .with_topics(Some(vec![topic]))
            .with_require_stable(true);
        let within = self.cluster().request_timeout();
        let answer = match self.call(&request, STABLE, within).await {
            // Brokers before Kafka 2.5 do not have it: Java's consumer goes without, too.
            Err(WireError::Unsupported(_)) => {
                request.require_stable = false;
                self.call(&request, UNSTABLE, within).await
            }
            answer => answer,
        }?;
        self.check(WHAT, answer.error_code).await?;
        let mut committed = CommittedOffsets::default();
        for found in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            if found.error_code == ResponseError::UnstableOffsetCommit.code() {
                committed.unstable.insert(found.partition_index);
                continue;
            }
            self.check(WHAT, found.error_code).await?;
            if found.committed_offset >= 0 {
                let offset = OffsetAndMetadata {
                    offset: found.committed_offset,
                    leader_epoch: Some(found.committed_leader_epoch).filter(|epoch| *epoch >= 0),
                    metadata: found.metadata.map(|note| note.as_str().to_owned()).unwrap_or_default(),
                };
                committed.offsets.insert(found.partition_index, offset);
            }
        }
        Ok(committed)
    }

    /// Commits an offset of each partition. The coordinator refuses a generation that is over and a wrong member epoch
    /// (KIP-848, from version 9 on).
    pub(crate) async fn commit(
        &self,
        generation: &MemberGeneration,
        topic: &str,
        offsets: &BTreeMap<i32, OffsetAndMetadata>,
    ) -> Result<(), WireError> {
        const WHAT: &str = "OffsetCommit";
        let partitions = offsets.iter().map(|(partition, committed)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch.unwrap_or(-1))
                .with_committed_metadata(Some(StrBytes::from_string(committed.metadata.clone())))
        });
        let topic =
            OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(partitions.collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group())
            .with_generation_id_or_member_epoch(generation.id)
            .with_member_id(generation.member_id.clone())
            .with_group_instance_id(generation.instance_id.clone())
            .with_topics(vec![topic]);
        let answer = self.call(&request, 2..=9, self.cluster().request_timeout()).await?;
        for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            self.check(WHAT, partition.error_code).await?;
        }
        Ok(())
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
