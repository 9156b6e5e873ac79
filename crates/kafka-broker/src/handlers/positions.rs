//! Offsets of a log: ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use std::cmp::Ordering;

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{Answered, Context};
use crate::{log::PartitionLog, state::State};

/// In place of a timestamp in ListOffsets: the end of the log, its start, and its newest record (KIP-734).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const YOUNGEST: i64 = -3;
/// The first version of ListOffsets with epochs. kafka-protocol takes -1 only before that.
const LISTS_EPOCHS: i16 = 4;
/// The end of the log in DeleteRecords.
const ALL_RECORDS: i64 = -1;

/// The isolation level READ_COMMITTED (KIP-98).
pub(super) const READ_COMMITTED: i8 = 1;

/// Checks the leader epoch of a client (KIP-320, `Partition.checkCurrentLeaderEpoch`); -1 is none.
pub(super) fn check_epoch(log: &PartitionLog, says: i32) -> Result<(), ResponseError> {
    match says.cmp(&log.epoch()) {
        _ if says < 0 => Ok(()),
        Ordering::Less => Err(ResponseError::FencedLeaderEpoch),
        Ordering::Greater => Err(ResponseError::UnknownLeaderEpoch),
        Ordering::Equal => Ok(()),
    }
}

fn known(state: &State, topic: &str, partition: i32, epoch: i32) -> Result<(), ResponseError> {
    let log = state.log(topic, partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_epoch(log, epoch)
}

impl Answered for ListOffsetsRequest {
    async fn answer(self, context: &Context<'_>) -> ListOffsetsResponse {
        let committed_only = self.isolation_level == READ_COMMITTED;
        let topics = context.shared.with(|state| {
            let topics = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|wanted| {
                    let answer = ListOffsetsPartitionResponse::default()
                        .with_partition_index(wanted.partition_index)
                        .with_timestamp(-1)
                        .with_offset(-1);
                    let known =
                        known(state, &topic.name, wanted.partition_index, wanted.current_leader_epoch);
                    let log = match (known, state.log(&topic.name, wanted.partition_index)) {
                        (Ok(()), Some(log)) => log,
                        (known, _) => return answer.with_error_code(super::code(known)),
                    };
                    let found = match wanted.timestamp {
                        LATEST if committed_only => Some((log.last_stable(), -1)),
                        LATEST => Some((log.end(), -1)),
                        EARLIEST => Some((log.start(), -1)),
                        YOUNGEST => log.youngest(),
                        timestamp => log.at_timestamp(timestamp),
                    };
                    let below = |(offset, _): &(i64, i64)| !committed_only || *offset <= log.last_stable();
                    let Some((offset, time)) = found.filter(below) else { return answer };
                    let epoch = if context.version < LISTS_EPOCHS { -1 } else { log.epoch() };
                    answer.with_offset(offset).with_timestamp(time).with_leader_epoch(epoch)
                });
                let partitions = partitions.collect();
                ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
            });
            topics.collect()
        });
        ListOffsetsResponse::default().with_topics(topics)
    }

    fn refuse(&self, error: i16) -> ListOffsetsResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(error)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

impl Answered for OffsetForLeaderEpochRequest {
    async fn answer(self, context: &Context<'_>) -> OffsetForLeaderEpochResponse {
        let topics = context.shared.with(|state| {
            let topics = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|wanted| {
                    let answer = EpochEndOffset::default().with_partition(wanted.partition);
                    let known = known(state, &topic.topic, wanted.partition, wanted.current_leader_epoch);
                    let log = state.log(&topic.topic, wanted.partition).filter(|_| known.is_ok());
                    let end = log.and_then(|log| log.end_of_epoch(wanted.leader_epoch));
                    let (epoch, offset) = end.unwrap_or((-1, -1));
                    answer
                        .with_error_code(super::code(known))
                        .with_leader_epoch(epoch)
                        .with_end_offset(offset)
                });
                OffsetForLeaderTopicResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partitions(partitions.collect())
            });
            topics.collect()
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }

    fn refuse(&self, error: i16) -> OffsetForLeaderEpochResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                EpochEndOffset::default().with_partition(wanted.partition).with_error_code(error)
            });
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }
}

impl Answered for DeleteRecordsRequest {
    async fn answer(self, context: &Context<'_>) -> DeleteRecordsResponse {
        let topics = context.shared.change(|state| {
            let topics = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|wanted| {
                    let answer = DeleteRecordsPartitionResult::default()
                        .with_partition_index(wanted.partition_index)
                        .with_low_watermark(-1);
                    let Some(log) = state.log_mut(&topic.name, wanted.partition_index) else {
                        return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
                    };
                    let offset = if wanted.offset == ALL_RECORDS { log.end() } else { wanted.offset };
                    if !(0..=log.end()).contains(&offset) {
                        return answer.with_error_code(ResponseError::OffsetOutOfRange.code());
                    }
                    log.delete_before(offset);
                    answer.with_low_watermark(log.start())
                });
                DeleteRecordsTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            topics.collect()
        });
        DeleteRecordsResponse::default().with_topics(topics)
    }

    fn refuse(&self, error: i16) -> DeleteRecordsResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_low_watermark(-1)
                    .with_error_code(error)
            });
            DeleteRecordsTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }
}
