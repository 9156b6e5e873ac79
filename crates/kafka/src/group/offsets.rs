//! OffsetFetch and OffsetCommit, fenced by the generation.

use std::{collections::BTreeMap, ops::RangeInclusive};

use kafka_protocol::{
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

impl Coordinator {
    /// The committed offset of each of these partitions that has one, and its metadata.
    pub(crate) async fn committed(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Result<BTreeMap<i32, (i64, String)>, WireError> {
        const WHAT: &str = "OffsetFetch";
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name(topic))
            .with_partition_indexes(partitions.into_iter().collect());
        // KIP-447: an offset in an open transaction is an error that passes, in place of the offset before it. A start
        // that is resolved from that one would be committed over it.
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
        let mut committed = BTreeMap::new();
        for found in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            self.check(WHAT, found.error_code).await?;
            if found.committed_offset >= 0 {
                let note = found.metadata.map(|note| note.as_str().to_owned()).unwrap_or_default();
                committed.insert(found.partition_index, (found.committed_offset, note));
            }
        }
        Ok(committed)
    }

    /// Commits the next offset to be processed of each partition, and its metadata. The coordinator refuses a
    /// generation that is over and a wrong epoch (KIP-848, from version 9 on).
    pub(crate) async fn commit(
        &self,
        generation: &MemberGeneration,
        topic: &str,
        offsets: &BTreeMap<i32, (i64, String)>,
    ) -> Result<(), WireError> {
        const WHAT: &str = "OffsetCommit";
        let partitions = offsets.iter().map(|(partition, (offset, note))| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::from_string(note.clone())))
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
