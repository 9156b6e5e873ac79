//! Produce.

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse, TopicName,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{Answered, Context};
use crate::{
    log::{Head, LogError},
    state::State,
};

const ZSTD: i16 = 4;
/// The first version of Produce whose clients know zstd (KIP-110).
const PRODUCE_KNOWS_ZSTD: i16 = 7;

/// Where a batch was appended.
struct Appended {
    offset: i64,
    /// -1 without LogAppendTime.
    time: i64,
    log_start: i64,
}

impl Answered for ProduceRequest {
    async fn answer(self, context: &Context<'_>) -> ProduceResponse {
        if !matches!(self.acks, -1..=1) {
            return self.refuse(ResponseError::InvalidRequiredAcks.code());
        }
        let responses = context.shared.change(|state| {
            let topics = self.topic_data.into_iter().map(|topic| {
                let partitions = topic.partition_data.into_iter().map(|data| {
                    let response = PartitionProduceResponse::default().with_index(data.index);
                    match append(state, context.version, &topic.name, data.index, data.records) {
                        Ok(appended) => response
                            .with_base_offset(appended.offset)
                            .with_log_append_time_ms(appended.time)
                            .with_log_start_offset(appended.log_start),
                        Err(error) => refused(response, ResponseError::from(error).code()),
                    }
                });
                let partitions = partitions.collect();
                TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
            });
            topics.collect()
        });
        let throttle = i32::try_from(context.throttle.as_millis()).unwrap_or(i32::MAX);
        ProduceResponse::default().with_responses(responses).with_throttle_time_ms(throttle)
    }

    fn refuse(&self, error: i16) -> ProduceResponse {
        let responses = self.topic_data.iter().map(|topic| {
            let partitions = topic
                .partition_data
                .iter()
                .map(|data| refused(PartitionProduceResponse::default().with_index(data.index), error));
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_responses(responses.collect())
    }

    fn wants_answer(&self) -> bool {
        self.acks != 0
    }

    fn has_failed(answer: &ProduceResponse) -> bool {
        let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        partitions.any(|partition| partition.error_code != 0)
    }
}

fn refused(response: PartitionProduceResponse, error: i16) -> PartitionProduceResponse {
    response.with_error_code(error).with_base_offset(-1).with_log_append_time_ms(-1).with_log_start_offset(-1)
}

fn append(
    state: &mut State,
    version: i16,
    topic: &TopicName,
    partition: i32,
    records: Option<Bytes>,
) -> Result<Appended, LogError> {
    let batch = records.ok_or(LogError::Corrupt)?;
    if version < PRODUCE_KNOWS_ZSTD && Head::read(&batch)?.codec() == ZSTD {
        return Err(LogError::UnsupportedCodec);
    }
    let rules = state.topics.get(topic.as_str()).ok_or(LogError::Unknown)?.rules();
    let log = state.log_mut(topic, partition).ok_or(LogError::Unknown)?;
    let offset = log.append(batch, rules)?;
    Ok(Appended { offset, time: rules.append_time.unwrap_or(-1), log_start: log.start() })
}
