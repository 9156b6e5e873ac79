//! OffsetForLeaderEpoch (KIP-101, KIP-320): the end of a leader epoch's records.

use std::ops::RangeInclusive;

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, OffsetForLeaderEpochRequest, TopicName,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    protocol::StrBytes,
};

use super::{Connection, WireError};
use crate::FetchPosition;

/// The versions from the first one that needs no right to the cluster (Kafka 2.3), as in Java's consumer.
const KNOWN: RangeInclusive<i16> = 3..=4;
const WHAT: &str = "OffsetForLeaderEpoch";
/// The id of a client that is no replica.
const CLIENT: BrokerId = BrokerId(-1);
/// No epoch (`OffsetsForLeaderEpochResponse.UNDEFINED_EPOCH` in Java).
const UNDEFINED: i32 = -1;

impl Connection {
    /// The largest epoch that the leader's log has, up to `epoch`, and the offset after its last record; `None` if the
    /// log has none of them. `leader_epoch` is the leader's own.
    ///
    /// # Errors
    ///
    /// The broker leads the partition in another epoch, does not respond, or refuses.
    pub(crate) async fn epoch_end(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
        epoch: i32,
    ) -> Result<Option<FetchPosition>, WireError> {
        let wanted = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(leader_epoch)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(vec![wanted]);
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(CLIENT).with_topics(vec![topic]);
        let response = self.call(&request, KNOWN).await?;
        let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = partitions.find(|found| found.partition == partition) else {
            return Err(WireError::Refused { what: WHAT, error: ResponseError::UnknownTopicOrPartition });
        };
        WireError::check(WHAT, found.error_code)?;
        let is_known = found.leader_epoch != UNDEFINED && found.end_offset >= 0;
        let end = FetchPosition { offset: found.end_offset, leader_epoch: Some(found.leader_epoch) };
        Ok(is_known.then_some(end))
    }
}
