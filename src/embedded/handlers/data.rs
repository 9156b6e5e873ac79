//! Records in and out: Produce, Fetch, ListOffsets.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
        ProduceResponse, ProducerId, TopicName,
        fetch_request::FetchPartition,
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};
use tokio::time::Instant;

use super::{Answered, Context};
use crate::embedded::{
    log::{Head, LogError},
    state::State,
};

const READ_COMMITTED: i8 = 1;
/// The first version of Fetch whose clients know zstd (KIP-110).
const FETCH_KNOWS_ZSTD: i16 = 10;
/// `ListOffsets`' word for the end of the log.
const LATEST: i64 = -1;
/// `ListOffsets`' word for its beginning.
const EARLIEST: i64 = -2;

impl Answered for ProduceRequest {
    async fn answer(self, context: &Context<'_>) -> Option<ProduceResponse> {
        let wants_answer = self.acks != 0;
        let responses = context.shared.change(|state| {
            let topics = self.topic_data.into_iter().map(|topic| {
                let partitions = topic.partition_data.into_iter().map(|data| {
                    let (code, base) = match append(state, &topic.name, data.index, data.records) {
                        Ok(base) => (0, base),
                        Err(error) => (error.code(), -1),
                    };
                    PartitionProduceResponse::default()
                        .with_index(data.index)
                        .with_error_code(code)
                        .with_base_offset(base)
                        .with_log_append_time_ms(-1)
                });
                let partitions = partitions.collect();
                TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
            });
            topics.collect()
        });
        wants_answer.then(|| ProduceResponse::default().with_responses(responses))
    }

    fn refuse(&self, error: i16) -> ProduceResponse {
        let responses = self.topic_data.iter().map(|topic| {
            let refused = topic.partition_data.iter().map(|data| {
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(error)
                    .with_base_offset(-1)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(refused.collect())
        });
        ProduceResponse::default().with_responses(responses.collect())
    }
}

fn append(
    state: &mut State,
    topic: &TopicName,
    partition: i32,
    records: Option<Bytes>,
) -> Result<i64, LogError> {
    let batch = records.ok_or(LogError::Corrupt)?;
    let head = Head::read(&batch)?;
    if let Some(offset) = state.producers.duplicate_of(&head, topic, partition) {
        return Ok(offset);
    }
    let found = state.topics.get(topic.as_str()).ok_or(LogError::Unknown)?;
    let most_bytes =
        found.config("max.message.bytes").and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    let offset = state.log_mut(topic, partition).ok_or(LogError::Unknown)?.append(batch, most_bytes)?;
    state.producers.remember(&head, topic, partition, offset);
    Ok(offset)
}

impl Answered for FetchRequest {
    async fn answer(self, context: &Context<'_>) -> Option<FetchResponse> {
        let wait = Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0));
        let deadline = Instant::now() + wait;
        let least = usize::try_from(self.min_bytes).unwrap_or(0);
        let enough = context
            .shared
            .until(deadline, |state| {
                let (answer, bytes, failed) = fetch(&self, state, context.version);
                (bytes >= least || failed).then_some(answer)
            })
            .await;
        // Time is up: what there is has to do.
        Some(enough.unwrap_or_else(|| context.shared.with(|state| fetch(&self, state, context.version).0)))
    }

    fn refuse(&self, error: i16) -> FetchResponse {
        let responses = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                PartitionData::default()
                    .with_partition_index(wanted.partition)
                    .with_error_code(error)
                    .with_high_watermark(-1)
                    .with_records(Some(Bytes::new()))
            });
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        FetchResponse::default().with_responses(responses.collect())
    }
}

/// The answer as things stand, how many bytes of records are in it, and whether a partition failed.
fn fetch(request: &FetchRequest, state: &State, version: i16) -> (FetchResponse, usize, bool) {
    let (mut total, mut failed) = (0, false);
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let data = fetch_partition(request, state, version, &topic.topic, wanted);
            total += data.records.as_ref().map_or(0, Bytes::len);
            failed |= data.error_code != 0;
            data
        });
        let partitions = partitions.collect();
        FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_partitions(partitions)
    });
    let responses = responses.collect();
    (FetchResponse::default().with_responses(responses), total, failed)
}

fn fetch_partition(
    request: &FetchRequest,
    state: &State,
    version: i16,
    topic: &TopicName,
    wanted: &FetchPartition,
) -> PartitionData {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()));
    let Some(log) = state.log(topic, wanted.partition) else {
        return data.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    let data = data
        .with_high_watermark(log.end())
        .with_last_stable_offset(log.last_stable())
        .with_log_start_offset(log.start());
    if !(log.start()..=log.end()).contains(&wanted.fetch_offset) {
        return data.with_error_code(ResponseError::OffsetOutOfRange.code());
    }
    let committed_only = request.isolation_level == READ_COMMITTED;
    let limit = if committed_only { log.last_stable() } else { log.end() };
    let most_bytes = usize::try_from(wanted.partition_max_bytes.min(request.max_bytes)).unwrap_or(0);
    let found = log.read(wanted.fetch_offset, limit, most_bytes);
    if found.has_zstd && version < FETCH_KNOWS_ZSTD {
        return data.with_error_code(ResponseError::UnsupportedCompressionType.code());
    }
    let aborted = found.aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first)
    });
    let aborted = committed_only.then(|| aborted.collect());
    data.with_aborted_transactions(aborted).with_records(Some(found.bytes.freeze()))
}

impl Answered for ListOffsetsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<ListOffsetsResponse> {
        let topics = context.shared.with(|state| {
            let topics = self.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|wanted| {
                    let answer = ListOffsetsPartitionResponse::default()
                        .with_partition_index(wanted.partition_index)
                        .with_timestamp(-1);
                    let Some(log) = state.log(&topic.name, wanted.partition_index) else {
                        let unknown = ResponseError::UnknownTopicOrPartition.code();
                        return answer.with_error_code(unknown).with_offset(-1);
                    };
                    let end =
                        if self.isolation_level == READ_COMMITTED { log.last_stable() } else { log.end() };
                    match wanted.timestamp {
                        LATEST => answer.with_offset(end),
                        EARLIEST => answer.with_offset(log.start()),
                        timestamp => match log.at_timestamp(timestamp) {
                            Some((offset, found)) => answer.with_offset(offset).with_timestamp(found),
                            None => answer.with_offset(-1),
                        },
                    }
                });
                let partitions = partitions.collect();
                ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
            });
            topics.collect()
        });
        Some(ListOffsetsResponse::default().with_topics(topics))
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
