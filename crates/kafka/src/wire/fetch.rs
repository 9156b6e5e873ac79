//! Fetch: every legal batch of a partition's log.
//!
//! Version 13 names the topic by its id (KIP-516), so that another topic of the same name is not read in its place.
//! Version 11 is the newest by name that is needed.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{bail, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{
        FetchRequest, ProducerId, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::AbortedTransaction,
    },
    protocol::StrBytes,
};

use uuid::Uuid;

use super::{Connection, Decoded, WireError, decode_batches};
use crate::{FetchPosition, LeaderEpochs, Record};

/// The versions by the topic's name.
const BY_NAME: RangeInclusive<i16> = 4..=11;
/// The version by the topic's id.
const BY_ID: RangeInclusive<i16> = 13..=13;
/// The first flexible version (KIP-482): numbers of elements are varints, and structures end with tagged fields.
const FLEXIBLE: i16 = 12;
/// The largest response that is read, in bytes. A broker sends the first batch whole, however large.
const MAX_FRAME: usize = 128 * 1024 * 1024;
/// The most memory of the decoded records of one response, in bytes.
const MAX_DECODED: usize = MAX_FRAME;
const READ_COMMITTED: i8 = 1;
const WHAT: &str = "Fetch";

/// The records of a fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The records, in order, without markers and aborted transactions.
    pub records: Vec<Record>,
    /// The offset to read on from, past the records that were left out.
    pub next: i64,
    /// The high watermark.
    pub end: i64,
    /// The last stable offset. It is below the high watermark while a transaction is open.
    pub stable: i64,
    /// The leader epochs of the records that were read.
    pub epochs: LeaderEpochs,
    /// The offset at which the first batch begins, if that is known: compaction leaves gaps.
    pub(crate) starts_at: Option<i64>,
}

impl Fetched {
    /// The position to read on from, after a read at `from`.
    pub fn next_position(&self, from: FetchPosition) -> FetchPosition {
        self.position_at(self.next, from)
    }

    /// The position at an offset up to the next one, after a read at `from`.
    pub(crate) fn position_at(&self, offset: i64, from: FetchPosition) -> FetchPosition {
        let mut epochs = LeaderEpochs::before(from);
        epochs.extend(&self.epochs);
        epochs.position_at(offset)
    }
}

impl Connection {
    /// Fetches committed records of a partition from its leader, and waits up to `max_wait_ms` for some. `max_bytes`
    /// bounds the response, but the first batch comes whole.
    ///
    /// # Errors
    ///
    /// The broker refuses, throttles or does not respond; or the first batch cannot be decoded.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Result<Fetched, WireError> {
        let topic = FetchTopic::default().with_topic(TopicName(StrBytes::from_string(topic.to_owned())));
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(max_bytes);
        self.fetch_partition(topic, wanted, max_wait_ms).await
    }

    /// Whether the broker speaks the version that names a topic by its id.
    pub(crate) fn fetches_by_id(&self) -> bool {
        self.version::<FetchRequest>(BY_ID).is_ok()
    }

    /// As [`Connection::fetch`], of the topic with that name or, if it is given, with that id: after the topic's deletion
    /// the broker does not know the id, whatever topic has the name. The broker refuses a leader epoch that is not its own
    /// (from version 9 on, KIP-320).
    pub(crate) async fn fetch_partition(
        &mut self,
        topic: FetchTopic,
        wanted: FetchPartition,
        max_wait_ms: i32,
    ) -> Result<Fetched, WireError> {
        let known = if topic.topic_id.is_nil() { BY_NAME } else { BY_ID };
        let (partition, from) = (wanted.partition, wanted.fetch_offset);
        let request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(wanted.partition_max_bytes)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(-1) // no fetch session (KIP-227)
            .with_topics(vec![topic.with_partitions(vec![wanted])]);
        // The broker may hold the request that long.
        let held = Duration::from_millis(max_wait_ms.max(0).unsigned_abs().into());
        let within = self.request_timeout() + held;
        let (response, version) = self.call_raw(&request, known, within, MAX_FRAME).await?;
        decode_fetch(response, version, partition, from)
    }
}

/// Decodes the response to a fetch of one partition from an offset on.
///
/// # Errors
///
/// It is an error code or a throttling, or it cannot be decoded: see [`decode_batches`].
pub fn decode_fetch(response: Bytes, version: i16, partition: i32, from: i64) -> Result<Fetched, WireError> {
    let response = FetchResponse::read(response, version, partition);
    let response = response.map_err(|error| malformed(error.to_string()))?;
    WireError::check(WHAT, response.error_code)?;
    if let Some(throttle) = response.throttle {
        return Err(WireError::Throttled(throttle));
    }
    let Decoded { records, next, epochs, starts_at } =
        decode_batches(partition, response.records, from, response.aborted, MAX_DECODED)?;
    let end = response.high_watermark;
    // A broker without transactions may leave it at -1.
    let stable = if response.last_stable_offset < 0 { end } else { response.last_stable_offset.min(end) };
    Ok(Fetched { records, next, end, stable, epochs, starts_at })
}

/// The fields of a Fetch response that are needed.
#[derive(Debug, Default)]
struct FetchResponse {
    /// Set if the response has nothing else.
    throttle: Option<Duration>,
    error_code: i16,
    high_watermark: i64,
    last_stable_offset: i64,
    aborted: Vec<AbortedTransaction>,
    records: Bytes,
}

impl FetchResponse {
    /// Reads versions 4 to 13. kafka-protocol does not read them here, as it allocates for what a response claims, and this
    /// one may be large.
    fn read(mut response: Bytes, version: i16, partition: i32) -> anyhow::Result<Self> {
        let response = &mut response;
        let throttle_ms = response.try_get_i32()?;
        if version >= 7 {
            let (error_code, _session_id) = (response.try_get_i16()?, response.try_get_i32()?);
            if error_code != 0 {
                return Ok(Self { error_code, ..Self::default() });
            }
        }
        let topics = count(response, version)?;
        if topics == 0 && throttle_ms > 0 {
            // A throttled client without a fetch session gets nothing else (`FetchContext.getThrottledResponse`).
            let throttle = Duration::from_millis(throttle_ms.unsigned_abs().into());
            return Ok(Self { throttle: Some(throttle), ..Self::default() });
        }
        for _topic in 0..topics {
            let name = match version {
                ..FLEXIBLE => response.try_get_u16()?.into(),
                FLEXIBLE => count(response, version)?,
                _ => size_of::<Uuid>(),
            };
            split(response, name)?;
            for _partition in 0..count(response, version)? {
                let index = response.try_get_i32()?;
                let found = Self::read_partition(response, version)?;
                if index == partition {
                    return Ok(found);
                }
            }
            skip_tags(response, version)?;
        }
        bail!("nothing about partition {partition}")
    }

    fn read_partition(response: &mut Bytes, version: i16) -> anyhow::Result<Self> {
        let error_code = response.try_get_i16()?;
        let (high_watermark, last_stable_offset) = (response.try_get_i64()?, response.try_get_i64()?);
        if version >= 5 {
            let _log_start_offset = response.try_get_i64()?;
        }
        let mut aborted = Vec::new();
        for _transaction in 0..count(response, version)? {
            let producer_id = ProducerId(response.try_get_i64()?);
            let first_offset = response.try_get_i64()?;
            skip_tags(response, version)?;
            let transaction = AbortedTransaction::default();
            aborted.push(transaction.with_producer_id(producer_id).with_first_offset(first_offset));
        }
        if version >= 11 {
            let _preferred_read_replica = response.try_get_i32()?;
        }
        let length = count(response, version)?;
        let records = split(response, length)?;
        skip_tags(response, version)?;
        Ok(Self { throttle: None, error_code, high_watermark, last_stable_offset, aborted, records })
    }
}

/// The number of elements or bytes that follow; 0 for null.
fn count(response: &mut Bytes, version: i16) -> anyhow::Result<usize> {
    let count = match version {
        ..FLEXIBLE => i64::from(response.try_get_i32()?),
        _ => i64::from(varint(response)?) - 1,
    };
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Skips the tagged fields.
fn skip_tags(response: &mut Bytes, version: i16) -> anyhow::Result<()> {
    if version >= FLEXIBLE {
        for _field in 0..varint(response)? {
            let (_tag, length) = (varint(response)?, varint(response)?);
            split(response, usize::try_from(length)?)?;
        }
    }
    Ok(())
}

/// Seven bits a byte, the low ones first (Protocol Buffers' `uint32`).
fn varint(response: &mut Bytes) -> anyhow::Result<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let byte = response.try_get_u8()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    bail!("a number is too long")
}

fn split(response: &mut Bytes, length: usize) -> anyhow::Result<Bytes> {
    ensure!(length <= response.len(), "{length} bytes are promised and {} are there", response.len());
    Ok(response.split_to(length))
}

pub(super) fn malformed(reason: String) -> WireError {
    WireError::Malformed { what: WHAT, reason }
}
