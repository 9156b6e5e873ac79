//! ListOffsets: the first and the last offset of a partition, and that of a time.

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

/// The versions from the first with an isolation level to the last before the flexible ones. From 4 on they have the leader
/// epoch; an older broker cannot refuse another epoch.
const KNOWN: RangeInclusive<i16> = 2..=5;
/// The code in place of a timestamp (`ListOffsetsRequest` in Java).
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// The end is the last stable offset (`IsolationLevel.READ_COMMITTED` in Java).
const READ_COMMITTED: i8 = 1;
/// The id of a client that is no replica.
const CLIENT: BrokerId = BrokerId(-1);

impl Connection {
    /// The offsets of a partition: from its first record to its last stable offset.
    ///
    /// # Errors
    ///
    /// The broker leads the partition in another epoch; or it was just elected and does not know the high watermark yet
    /// (KIP-207); or it does not respond, or refuses.
    pub(crate) async fn offsets(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
    ) -> Result<Range<i64>, WireError> {
        let start = self.offset(topic, partition, leader_epoch, EARLIEST).await?;
        let end = self.end(topic, partition, leader_epoch).await?;
        Ok(start..end.max(start))
    }

    /// The last stable offset of a partition.
    ///
    /// # Errors
    ///
    /// As [`Connection::offsets`].
    pub(crate) async fn end(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
    ) -> Result<i64, WireError> {
        self.offset(topic, partition, leader_epoch, LATEST).await
    }

    /// The offset of the first record of that time or later, in milliseconds since 1970; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Connection::offsets`].
    pub(crate) async fn offset_at(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
        millis: i64,
    ) -> Result<Option<i64>, WireError> {
        // Negative numbers are codes.
        let found = self.offset(topic, partition, leader_epoch, millis.max(0)).await?;
        Ok(Some(found).filter(|offset| *offset >= 0))
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
        let response = self.call(&request, KNOWN).await?;
        let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = partitions.find(|found| found.partition_index == partition) else {
            let error = ResponseError::UnknownTopicOrPartition;
            return Err(WireError::Refused { what: "ListOffsets", error });
        };
        WireError::check("ListOffsets", found.error_code)?;
        Ok(found.offset)
    }
}
