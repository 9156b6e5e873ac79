//! Produce.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse, TopicName,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};
use tokio::time::Instant;

use super::{Answered, Context};
use crate::{
    log::{Head, LogError},
    state::State,
    topics::Topic,
};

const ZSTD: i16 = 4;
/// The first version of Produce whose clients know zstd (KIP-110).
const PRODUCE_KNOWS_ZSTD: i16 = 7;

/// All replicas that are in sync must have it.
const ACKS_ALL: i16 = -1;

/// The place of a batch that was appended.
struct AppendedBatch {
    offset: i64,
    /// -1 without LogAppendTime.
    time: i64,
    log_start: i64,
    replication: DelayedProduce,
}

/// The outcome of appending to each partition of a topic.
type Outcomes = Vec<(i32, Result<AppendedBatch, ResponseError>)>;

/// A batch that is to be replicated (`DelayedProduce`).
struct DelayedProduce {
    topic: TopicName,
    partition: i32,
    leader_epoch: i32,
    /// The offset after its last record.
    end: i64,
}

impl DelayedProduce {
    /// Whether it is; `None` while that takes.
    fn is_done(&self, state: &State) -> Option<Result<(), ResponseError>> {
        let led = match state.led(&self.topic, self.partition) {
            Ok(led) if led.leadership().epoch == self.leader_epoch => led,
            _ => return Some(Err(ResponseError::NotLeaderOrFollower)),
        };
        let least = state.topics.get(self.topic.as_str()).map_or(1, Topic::least_in_sync);
        match led.has_enough_in_sync(least) {
            _ if led.high_watermark() < self.end => None,
            true => Some(Ok(())),
            false => Some(Err(ResponseError::NotEnoughReplicasAfterAppend)),
        }
    }
}

impl Answered for ProduceRequest {
    async fn answer(self, context: &Context<'_>) -> ProduceResponse {
        if !matches!(self.acks, -1..=1) {
            return self.refuse(ResponseError::InvalidRequiredAcks.code());
        }
        let (acks, timeout) = (self.acks, u64::try_from(self.timeout_ms).unwrap_or(0));
        let deadline = Instant::now() + Duration::from_millis(timeout);
        let appended: Vec<(TopicName, Outcomes)> = context.shared.change(|state| {
            let topics = self.topic_data.into_iter().map(|topic| {
                let partitions = topic.partition_data.into_iter().map(|data| {
                    let sent = (data.index, data.records);
                    (data.index, append(state, context.version, acks, &topic.name, sent))
                });
                let partitions = partitions.collect();
                (topic.name, partitions)
            });
            topics.collect()
        });
        let all = || appended.iter().flat_map(|(_, partitions)| partitions);
        let pending = || all().filter_map(|(_, appended)| Some(&appended.as_ref().ok()?.replication));
        if acks == ACKS_ALL {
            let is_done = |state: &State| pending().all(|batch| batch.is_done(state).is_some());
            context.shared.until(deadline, |state| is_done(state).then_some(())).await;
        }
        let responses = context.shared.with(|state| {
            let topics = appended.into_iter().map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(index, appended)| {
                    let appended = match (acks, appended) {
                        (ACKS_ALL, Ok(appended)) => {
                            let late = Err(ResponseError::RequestTimedOut);
                            appended.replication.is_done(state).unwrap_or(late).map(|()| appended)
                        }
                        (_, appended) => appended,
                    };
                    let response = PartitionProduceResponse::default().with_index(index);
                    match appended {
                        Ok(appended) => response
                            .with_base_offset(appended.offset)
                            .with_log_append_time_ms(appended.time)
                            .with_log_start_offset(appended.log_start),
                        Err(error) => refused(response, error.code()),
                    }
                });
                let partitions = partitions.collect();
                TopicProduceResponse::default().with_name(name).with_partition_responses(partitions)
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
    acks: i16,
    name: &TopicName,
    (partition, records): (i32, Option<Bytes>),
) -> Result<AppendedBatch, ResponseError> {
    let batch = records.ok_or(LogError::Corrupt)?;
    let head = Head::read(&batch);
    if version < PRODUCE_KNOWS_ZSTD && head?.codec() == ZSTD {
        return Err(LogError::UnsupportedCodec.into());
    }
    let topic = state.topics.get(name.as_str()).ok_or(LogError::Unknown)?;
    let (rules, least) = (topic.rules(), topic.least_in_sync());
    let led = state.led_mut(name, partition)?;
    if acks == ACKS_ALL && !led.has_enough_in_sync(least) {
        return Err(ResponseError::NotEnoughReplicas);
    }
    let offset = led.write(|log| log.append(batch, rules))?;
    let (leader_epoch, log_start) = (led.leadership().epoch, led.log().start());
    let end = offset + i64::from(head?.last_offset_delta) + 1;
    let replication = DelayedProduce { topic: name.clone(), partition, leader_epoch, end };
    Ok(AppendedBatch { offset, time: rules.append_time.unwrap_or(-1), log_start, replication })
}
