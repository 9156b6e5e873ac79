//! Offsets of a log: ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

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
use crate::{log::PartitionLog, partition::Partition, state::State};

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

/// A partition that this node leads in the epoch that a client names.
fn led<'a>(
    state: &'a State,
    topic: &str,
    partition: i32,
    epoch: i32,
) -> Result<&'a Partition, ResponseError> {
    let found = state.led(topic, partition)?;
    found.check_epoch(epoch)?;
    Ok(found)
}

/// The offset that ListOffsets asks for, and its time; `None` if there is no such record.
fn listed(
    found: &Partition,
    timestamp: i64,
    committed_only: bool,
) -> Result<Option<(i64, i64)>, ResponseError> {
    // A leader that was just elected may know less than its predecessor has told (KIP-207).
    if timestamp != EARLIEST && !found.knows_its_end() {
        return Err(ResponseError::OffsetNotAvailable);
    }
    let log: &PartitionLog = found.log();
    let end = if committed_only { found.last_stable() } else { found.high_watermark() };
    let listed = match timestamp {
        LATEST => Some((end, -1)),
        EARLIEST => Some((log.start(), -1)),
        YOUNGEST => log.youngest(),
        timestamp => log.at_timestamp(timestamp),
    };
    Ok(listed.filter(|(offset, _)| *offset <= end))
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
                    let found = led(state, &topic.name, wanted.partition_index, wanted.current_leader_epoch);
                    let listed = found.and_then(|found| {
                        Ok((listed(found, wanted.timestamp, committed_only)?, found.leadership().epoch))
                    });
                    let (listed, epoch) = match listed {
                        Ok(listed) => listed,
                        Err(error) => return answer.with_error_code(error.code()),
                    };
                    let Some((offset, time)) = listed else { return answer };
                    let epoch = if context.version < LISTS_EPOCHS { -1 } else { epoch };
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
                    let found = led(state, &topic.topic, wanted.partition, wanted.current_leader_epoch);
                    let end = found.as_ref().ok().and_then(|led| led.log().end_of_epoch(wanted.leader_epoch));
                    let (epoch, offset) = end.unwrap_or((-1, -1));
                    answer
                        .with_error_code(super::code(found))
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
                    let found = match state.led_mut(&topic.name, wanted.partition_index) {
                        Ok(found) => found,
                        Err(error) => return answer.with_error_code(error.code()),
                    };
                    let most = found.high_watermark();
                    let offset = if wanted.offset == ALL_RECORDS { most } else { wanted.offset };
                    if !(0..=most).contains(&offset) {
                        return answer.with_error_code(ResponseError::OffsetOutOfRange.code());
                    }
                    found.write(|log| log.delete_before(offset));
                    answer.with_low_watermark(found.log().start())
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
