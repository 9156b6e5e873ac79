//! Reads the tail of a plain log.
//!
//! rskafka hides whether a record belongs to an aborted transaction. But a fetch that ends at the high watermark holds
//! the marker of each transaction in it, and rskafka fails on markers: the records that it reads up to the end are plain.

use std::time::Duration;

use rskafka::{client::error::ProtocolError, record::RecordAndOffset};
use thiserror::Error;

use super::{
    CallError,
    client::{Partition, within},
};
use crate::{
    Cluster, ReadError, Record, TransientError,
    message::timestamp,
    topic,
    wire::{Fetched, WireError},
};

/// Why rskafka does not read a log whose records have the broker's time.
pub(crate) const APPEND_TIME: &str =
    "its records have the broker's time (LogAppendTime), which rskafka does not tell";

/// Reads one partition at its end, on a connection that it keeps while reads succeed.
#[derive(Debug, Default)]
pub(crate) struct TailReader(Option<Partition>);

/// The result of a read that did not fail.
pub(crate) enum TailRead {
    /// All records up to the end of the log.
    Plain(Fetched),
    /// The fetch ends before the log does, so that a transaction may be open in it: nothing of it counts.
    Behind,
    /// rskafka cannot read this log, for that reason.
    NotPlain(String),
}

impl TailReader {
    /// Drops the connection.
    pub(crate) fn close(&mut self) {
        self.0 = None;
    }

    /// Fetches the records at `from` and after it, at most about `max_bytes`. The broker holds a fetch that finds
    /// nothing for `max_wait`. After an error the next call makes a new connection.
    ///
    /// # Errors
    ///
    /// The offset is out of range, by the word of the broker that was asked; or the partition cannot be read now.
    pub(crate) async fn read(
        &mut self,
        cluster: &Cluster,
        (topic, partition): (&str, i32),
        from: i64,
        max_bytes: i32,
        max_wait: Duration,
    ) -> Result<TailRead, ReadError> {
        let client = match self.0.take().filter(|client| !client.is_nearly_over()) {
            Some(client) => client,
            None => {
                if let Some(reason) = why_not_plain(cluster, topic).await? {
                    return Ok(TailRead::NotPlain(reason));
                }
                match cluster.rskafka().partition(cluster, topic, partition).await {
                    Ok(client) => client,
                    // rskafka waits for the first address of a name; our own connection goes on to the next.
                    Err(error @ CallError::TimedOut(_)) => {
                        return Ok(TailRead::NotPlain(format!("rskafka cannot connect: {error}")));
                    }
                    Err(error) => return Err(read_error(error)),
                }
            }
        };
        // rskafka's range excludes its end.
        let bytes = 1..max_bytes.saturating_add(1);
        let fetching = client.fetch_records(from, bytes, max_wait.as_millis() as i32);
        let (records, end) = match within(cluster.request_timeout() + max_wait, fetching).await {
            Ok(fetched) => fetched,
            Err(error) if error.protocol() == Some(ProtocolError::OffsetOutOfRange) => {
                return Err(ReadError::OutOfRange);
            }
            Err(error) if error.is_unreadable() => return Ok(TailRead::NotPlain(error.to_string())),
            Err(error) => {
                cluster.rskafka().discard();
                return Err(read_error(error));
            }
        };
        if let Some(reason) = loss(&records, end) {
            return Ok(TailRead::NotPlain(reason.to_owned()));
        }
        self.0 = Some(client);
        let next = records.last().map_or(from, |last| last.offset + 1);
        if next < end {
            return Ok(match records.is_empty() {
                true => TailRead::NotPlain("rskafka reads nothing below the end".to_owned()),
                false => TailRead::Behind,
            });
        }
        let records = records.into_iter().map(|record| plain(partition, record)).collect();
        // No transaction is open in what was read up to the end.
        Ok(TailRead::Plain(Fetched { records, next, end, stable: end, append_time: false }))
    }
}

/// Why rskafka cannot read the topic, by the topic's settings or because they cannot be asked for.
async fn why_not_plain(cluster: &Cluster, topic: &str) -> Result<Option<String>, WireError> {
    let settings = topic::settings(&mut cluster.connect().await?, topic).await;
    let stamped = ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned());
    match settings {
        Ok(settings) => Ok(settings.contains(&stamped).then(|| APPEND_TIME.to_owned())),
        // No right to see them, or no Apache Kafka: other brokers may not know DescribeConfigs.
        Err(error) if error.is_final() || matches!(error, WireError::Unsupported(_)) => {
            Ok(Some(format!("whether it has the broker's time (LogAppendTime) cannot be asked: {error}")))
        }
        Err(error) => Err(error),
    }
}

/// The loss in these records for which rskafka gives no error.
fn loss(records: &[RecordAndOffset], end: i64) -> Option<&'static str> {
    let in_order = records.is_sorted_by(|one, next| one.offset < next.offset)
        && records.last().is_none_or(|last| last.offset < end);
    if !in_order {
        return Some("rskafka numbers its records in another way than the log does");
    }
    let has_headers = records.iter().any(|read| !read.record.headers.is_empty());
    has_headers.then_some("it has headers, and rskafka keeps one of a name")
}

fn plain(partition: i32, read: RecordAndOffset) -> Record {
    Record {
        partition,
        offset: read.offset,
        timestamp: timestamp(read.record.timestamp.timestamp_millis()),
        key: read.record.key.map(Into::into),
        value: read.record.value.map(Into::into),
        headers: Vec::new(), // a log with headers is not read here
    }
}

/// rskafka's user may not read the topic.
#[derive(Debug, Error)]
#[error("{0} (this user may not read the topic: allow READ on it)")]
struct ReadForbidden(#[source] CallError);

fn read_error(error: CallError) -> ReadError {
    ReadError::Transient(match error.protocol() {
        Some(ProtocolError::TopicAuthorizationFailed) => TransientError::new(ReadForbidden(error)),
        _ => TransientError::new(error),
    })
}
