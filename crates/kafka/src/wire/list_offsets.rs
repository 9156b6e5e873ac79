//! Where a partition's log begins and ends, by its leader's word.

use std::ops::{Range, RangeInclusive};

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, ListOffsetsRequest, TopicName,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::StrBytes,
};

use super::{Connection, WireError};

/// From the first that tells committed records from others to the last before flexible ones. From 4 on they name the
/// leader's epoch; brokers that do not speak those cannot say that it is another.
const KNOWN: RangeInclusive<i16> = 2..=5;
/// What is asked for in place of a timestamp (`ListOffsetsRequest` in Java).
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// The end is that of what can be read of committed records, not that of the log (`IsolationLevel.READ_COMMITTED`).
const READ_COMMITTED: i8 = 1;
/// No replica: a client.
const CLIENT: BrokerId = BrokerId(-1);

impl Connection {
    /// The offsets that a partition has: from its first record to its last stable offset, which is its high watermark
    /// where no transaction is open. A broker that leads it in another epoch than this one refuses; so does one that
    /// was elected a moment ago and does not know yet how far its predecessor let others read (KIP-207).
    pub(crate) async fn offsets(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
    ) -> Result<Range<i64>, WireError> {
        let start = self.offset(topic, partition, leader_epoch, EARLIEST).await?;
        let end = self.offset(topic, partition, leader_epoch, LATEST).await?;
        Ok(start..end.max(start))
    }

    async fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
        which: i64,
    ) -> Result<i64, WireError> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(leader_epoch)
            .with_timestamp(which);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(CLIENT)
            .with_isolation_level(READ_COMMITTED)
            .with_topics(vec![topic]);
        let answer = self.call(&request, KNOWN).await?;
        let mut partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = partitions.find(|found| found.partition_index == partition) else {
            let error = ResponseError::UnknownTopicOrPartition;
            return Err(WireError::Refused { what: "ListOffsets", error });
        };
        WireError::check("ListOffsets", found.error_code)?;
        Ok(found.offset)
    }
}
