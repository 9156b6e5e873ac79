//! Reading a partition's log ourselves: every legal batch, whoever wrote it.
//!
//! rskafka stops for ever at transaction markers, null header values and zstd topics, and does not tell
//! aborted records from others. Fetch 13 asks for a topic by its id (KIP-516), so that another of the same name is not
//! read in its place; Fetch 11 is the newest by name that is needed.

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
use crate::Record;

/// The versions by a topic's name that we speak.
const BY_NAME: RangeInclusive<i16> = 4..=11;
/// And the one by its id.
const BY_ID: RangeInclusive<i16> = 13..=13;
/// From this version on numbers of elements are varints, and what has a structure ends with tagged fields (KIP-482).
const FLEXIBLE: i16 = 12;
/// The largest answer that is read: a broker sends the first batch whole, however large.
const MAX_FRAME: usize = 128 * 1024 * 1024;
/// What the records of one answer may take in memory, unpacked: as much as an answer may have on the wire.
const MAX_DECODED: usize = MAX_FRAME;
const READ_COMMITTED: i8 = 1;
const WHAT: &str = "Fetch";

/// A stretch of a partition's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The records, in order; those of aborted transactions and markers are left out.
    pub records: Vec<Record>,
    /// Where to read on: past everything that was seen, also past what was left out.
    pub next: i64,
    /// The high watermark: what all in-sync replicas have.
    pub end: i64,
    /// The last stable offset: what can be read of committed records. Below the end where a transaction is open.
    pub stable: i64,
    /// Whether some of it has the broker's time in place of its producer's.
    pub append_time: bool,
}

impl Connection {
    /// Fetches committed records of one partition from its leader, waiting up to `max_wait_ms` for some.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Result<Fetched, WireError> {
        let topic = FetchTopic::default().with_topic(TopicName(StrBytes::from_string(topic.to_owned())));
        self.fetch_topic(topic, BY_NAME, partition, from, max_bytes, max_wait_ms).await
    }

    /// As [`Connection::fetch`], of the topic that has this id: where it was deleted the broker says that it does not
    /// know the id, whatever has the name by then.
    pub(crate) async fn fetch_by_id(
        &mut self,
        id: Uuid,
        partition: i32,
        from: i64,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Result<Fetched, WireError> {
        let topic = FetchTopic::default().with_topic_id(id);
        self.fetch_topic(topic, BY_ID, partition, from, max_bytes, max_wait_ms).await
    }

    /// Whether the broker takes [`Connection::fetch_by_id`].
    pub(crate) fn fetches_by_id(&self) -> bool {
        self.version::<FetchRequest>(BY_ID).is_ok()
    }

    async fn fetch_topic(
        &mut self,
        topic: FetchTopic,
        known: RangeInclusive<i16>,
        partition: i32,
        from: i64,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Result<Fetched, WireError> {
        let position = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(max_bytes);
        let request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(max_bytes)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(-1) // no fetch session (KIP-227)
            .with_topics(vec![topic.with_partitions(vec![position])]);
        // The broker may hold it that long on purpose.
        let held = Duration::from_millis(max_wait_ms.max(0).unsigned_abs().into());
        let within = self.request_timeout() + held;
        let (answer, version) = self.ask(&request, known, within, MAX_FRAME).await?;
        decode_fetch(answer, version, partition, from)
    }
}

/// Reads what a broker answers to a fetch of one partition from an offset on, in a version of those we speak.
///
/// # Errors
///
/// It is an error, or says only that the client is to wait, or no sense can be made of it: see [`decode_batches`].
pub fn decode_fetch(answer: Bytes, version: i16, partition: i32, from: i64) -> Result<Fetched, WireError> {
    let answer = FetchAnswer::read(answer, version, partition);
    let answer = answer.map_err(|error| malformed(error.to_string()))?;
    WireError::check(WHAT, answer.error_code)?;
    if let Some(throttle) = answer.throttle {
        return Err(WireError::Throttled(throttle));
    }
    let Decoded { records, next, append_time } =
        decode_batches(partition, answer.records, from, answer.aborted, MAX_DECODED)?;
    let end = answer.high_watermark;
    // A broker that knows no transactions may leave it at -1.
    let stable = if answer.last_stable_offset < 0 { end } else { answer.last_stable_offset.min(end) };
    Ok(Fetched { records, next, end, stable, append_time })
}

/// Of a Fetch's answer what matters here.
#[derive(Debug, Default)]
struct FetchAnswer {
    /// Set where that is all there is.
    throttle: Option<Duration>,
    error_code: i16,
    high_watermark: i64,
    last_stable_offset: i64,
    aborted: Vec<AbortedTransaction>,
    records: Bytes,
}

impl FetchAnswer {
    /// `FetchResponse` in Kafka, versions 4 to 13. Not by kafka-protocol, which takes memory for what an answer
    /// says it has, and this one may be large.
    fn read(mut answer: Bytes, version: i16, partition: i32) -> anyhow::Result<Self> {
        let answer = &mut answer;
        let throttle_ms = answer.try_get_i32()?;
        if version >= 7 {
            let (error_code, _session_id) = (answer.try_get_i16()?, answer.try_get_i32()?);
            if error_code != 0 {
                return Ok(Self { error_code, ..Self::default() });
            }
        }
        let topics = count(answer, version)?;
        if topics == 0 && throttle_ms > 0 {
            // Beyond its quota a client without a fetch session is told nothing else
            // (`FetchContext.getThrottledResponse`).
            let throttle = Duration::from_millis(throttle_ms.unsigned_abs().into());
            return Ok(Self { throttle: Some(throttle), ..Self::default() });
        }
        for _topic in 0..topics {
            let name = match version {
                ..FLEXIBLE => answer.try_get_u16()?.into(),
                FLEXIBLE => count(answer, version)?,
                _ => size_of::<Uuid>(),
            };
            split(answer, name)?;
            for _partition in 0..count(answer, version)? {
                let index = answer.try_get_i32()?;
                let found = Self::read_partition(answer, version)?;
                if index == partition {
                    return Ok(found);
                }
            }
            skip_tags(answer, version)?;
        }
        bail!("nothing about partition {partition}")
    }

    fn read_partition(answer: &mut Bytes, version: i16) -> anyhow::Result<Self> {
        let error_code = answer.try_get_i16()?;
        let (high_watermark, last_stable_offset) = (answer.try_get_i64()?, answer.try_get_i64()?);
        if version >= 5 {
            let _log_start_offset = answer.try_get_i64()?;
        }
        let mut aborted = Vec::new();
        for _transaction in 0..count(answer, version)? {
            let producer_id = ProducerId(answer.try_get_i64()?);
            let first_offset = answer.try_get_i64()?;
            skip_tags(answer, version)?;
            let transaction = AbortedTransaction::default();
            aborted.push(transaction.with_producer_id(producer_id).with_first_offset(first_offset));
        }
        if version >= 11 {
            let _preferred_read_replica = answer.try_get_i32()?;
        }
        let length = count(answer, version)?;
        let records = split(answer, length)?;
        skip_tags(answer, version)?;
        Ok(Self { throttle: None, error_code, high_watermark, last_stable_offset, aborted, records })
    }
}

/// How many elements or bytes follow; null is none.
fn count(answer: &mut Bytes, version: i16) -> anyhow::Result<usize> {
    let count = match version {
        ..FLEXIBLE => i64::from(answer.try_get_i32()?),
        _ => i64::from(varint(answer)?) - 1,
    };
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Tagged fields, of which none is needed.
fn skip_tags(answer: &mut Bytes, version: i16) -> anyhow::Result<()> {
    if version >= FLEXIBLE {
        for _field in 0..varint(answer)? {
            let (_tag, length) = (varint(answer)?, varint(answer)?);
            split(answer, usize::try_from(length)?)?;
        }
    }
    Ok(())
}

/// Seven bits a byte, the low ones first (Protocol Buffers' `uint32`).
fn varint(answer: &mut Bytes) -> anyhow::Result<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let byte = answer.try_get_u8()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    bail!("a number is too long")
}

fn split(answer: &mut Bytes, length: usize) -> anyhow::Result<Bytes> {
    ensure!(length <= answer.len(), "{length} bytes are promised and {} are there", answer.len());
    Ok(answer.split_to(length))
}

pub(super) fn malformed(reason: String) -> WireError {
    WireError::Malformed { what: WHAT, reason }
}
