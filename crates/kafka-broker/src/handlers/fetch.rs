//! Fetch. Sessions (KIP-227) are declined: every response has session id 0.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, FetchResponse, ProducerId,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData},
    },
};
use tokio::time::Instant;

use super::{Answered, Context, positions::READ_COMMITTED};
use crate::{log::PartitionLog, state::State};

/// The first version of Fetch whose clients know zstd (KIP-110).
const FETCH_KNOWS_ZSTD: i16 = 10;
/// The first version of Fetch with topic ids (KIP-516).
const FETCHES_BY_ID: i16 = 13;

impl Answered for FetchRequest {
    async fn answer(self, context: &Context<'_>) -> FetchResponse {
        if !context.throttle.is_zero() {
            // Without a session the response has no partition (`FetchContext.getThrottledResponse`).
            let throttle = i32::try_from(context.throttle.as_millis()).unwrap_or(i32::MAX);
            return FetchResponse::default().with_throttle_time_ms(throttle);
        }
        let wait = Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0));
        let least = usize::try_from(self.min_bytes).unwrap_or(0);
        let enough = context.shared.until(Instant::now() + wait, |state| {
            let found = fetch(&self, state, context.version);
            (found.bytes >= least || found.is_urgent).then_some(found.answer)
        });
        match enough.await {
            Some(answer) => answer,
            // At the deadline, whatever is there is sent.
            None => context.shared.with(|state| fetch(&self, state, context.version).answer),
        }
    }

    fn refuse(&self, error: i16) -> FetchResponse {
        let responses = self.topics.iter().map(|topic| {
            let partitions =
                topic.partitions.iter().map(|wanted| nothing(wanted.partition).with_error_code(error));
            of(topic).with_partitions(partitions.collect())
        });
        FetchResponse::default().with_responses(responses.collect())
    }
}

/// The response that a fetch has now.
struct FetchOutcome {
    answer: FetchResponse,
    /// The bytes of records in it.
    bytes: usize,
    /// Whether it must not wait: it has an error, or the log was truncated.
    is_urgent: bool,
}

fn fetch(request: &FetchRequest, state: &State, version: i16) -> FetchOutcome {
    let (mut bytes, mut is_urgent) = (0, false);
    let responses = request.topics.iter().map(|topic| {
        let name = match version {
            ..FETCHES_BY_ID => Ok(topic.topic.as_str()),
            _ => state.image().name_of(topic.topic_id).ok_or(ResponseError::UnknownTopicId),
        };
        let partitions = topic.partitions.iter().map(|wanted| {
            let data = name
                .and_then(|name| fetch_partition(request, state, version, name, wanted, bytes))
                .unwrap_or_else(|error| nothing(wanted.partition).with_error_code(error.code()));
            bytes += data.records.as_ref().map_or(0, Bytes::len);
            is_urgent |= data.error_code != 0 || data.diverging_epoch.epoch != -1;
            data
        });
        let partitions = partitions.collect();
        of(topic).with_partitions(partitions)
    });
    let answer = FetchResponse::default().with_responses(responses.collect());
    FetchOutcome { answer, bytes, is_urgent }
}

/// The response for a topic, with the name or the id of the request.
fn of(topic: &FetchTopic) -> FetchableTopicResponse {
    FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_topic_id(topic.topic_id)
}

fn nothing(partition: i32) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()))
}

/// `before` is the bytes of other partitions in this response. Only the very first batch may be larger
/// than was asked for (KIP-74).
fn fetch_partition(
    request: &FetchRequest,
    state: &State,
    version: i16,
    topic: &str,
    wanted: &FetchPartition,
    before: usize,
) -> Result<PartitionData, ResponseError> {
    let led = state.led(topic, wanted.partition)?;
    led.check_epoch(wanted.current_leader_epoch)?;
    let log = led.log();
    let data = nothing(wanted.partition)
        .with_high_watermark(led.high_watermark())
        .with_last_stable_offset(led.last_stable())
        .with_log_start_offset(log.start());
    if let Some(diverging) = divergence(log, wanted) {
        return Ok(data.with_diverging_epoch(diverging));
    }
    if !(log.start()..=log.end()).contains(&wanted.fetch_offset) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let committed_only = request.isolation_level == READ_COMMITTED;
    let limit = if committed_only { led.last_stable() } else { led.high_watermark() };
    let room = usize::try_from(request.max_bytes).unwrap_or(0).saturating_sub(before);
    let most_bytes = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(room);
    let found = log.read(wanted.fetch_offset, limit, most_bytes, before == 0);
    if found.has_zstd && version < FETCH_KNOWS_ZSTD {
        return Err(ResponseError::UnsupportedCompressionType);
    }
    let aborted = found.aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first)
    });
    let aborted = committed_only.then(|| aborted.collect());
    Ok(data.with_aborted_transactions(aborted).with_records(Some(found.bytes.freeze())))
}

/// The offset at which the log diverges from the reader's (KIP-320, `Partition.readRecords`); `None` where it does not.
fn divergence(log: &PartitionLog, wanted: &FetchPartition) -> Option<EpochEndOffset> {
    let read = Some(wanted.last_fetched_epoch).filter(|epoch| *epoch >= 0)?;
    let (epoch, end) = log.end_of_epoch(read)?;
    let diverges = epoch < read || end < wanted.fetch_offset;
    diverges.then(|| EpochEndOffset::default().with_epoch(epoch).with_end_offset(end))
}
