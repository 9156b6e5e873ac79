//! A partition's log, whoever reads it: rskafka where the log is plain, our own Fetch where it is not.
//!
//! rskafka hides whether a record belongs to an aborted transaction. A stretch that ends at the high
//! watermark holds the marker of each transaction in it, and rskafka fails on markers; before a stretch
//! that ends earlier is believed, the broker is asked whether an aborted transaction reaches across its end.

use std::{ops::Range, sync::Arc, time::Duration};

use kafka_protocol::ResponseError;
use log::info;
use rskafka::{
    client::{
        error::ProtocolError,
        partition::{OffsetAt, PartitionClient},
    },
    record::RecordAndOffset,
};
use thiserror::Error;

use crate::messaging::{
    Cluster, Record,
    cluster::{CallError, within},
    message::timestamp,
    topic,
    wire::{Connection, Fetched, WireError},
};

/// How long a broker may hold a fetch that finds nothing new.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Reads one partition from its leader.
#[derive(Debug)]
pub(super) struct Reader {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    max_bytes: i32,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Rskafka(Option<PartitionClient>),
    Own(Option<Connection>),
}

/// Why nothing was read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// The offset is below the log's start, or beyond its end.
    #[error("the offset is out of the log's range")]
    OutOfRange,
    /// Nothing can decode what stands there.
    #[error("{0}")]
    Undecodable(String),
    /// It may work later.
    #[error("{0}")]
    Passing(String),
}

impl Reader {
    pub(super) fn new(cluster: Arc<Cluster>, topic: Arc<str>, partition: i32, max_bytes: i32) -> Self {
        Self { cluster, topic, partition, max_bytes, way: Way::Rskafka(None) }
    }

    /// The next records at `from` or after it; waits a moment for some. After an error the connection is
    /// made anew at the next call.
    pub(super) async fn read(&mut self, from: i64) -> Result<Fetched, ReadError> {
        if let Way::Rskafka(_) = self.way {
            match self.read_by_rskafka(from).await? {
                Ok(fetched) => return Ok(fetched),
                Err(why) => {
                    info!(
                        "{}/{}: read by our own fetch from offset {from} on: {why}",
                        self.topic, self.partition
                    );
                    self.way = Way::Own(None);
                }
            }
        }
        self.read_by_ourselves(from, self.max_bytes, MAX_WAIT).await
    }

    /// The offsets that the log has: from the first record to the end of what is committed.
    pub(super) async fn range(&mut self) -> Result<Range<i64>, ReadError> {
        let client = self.cluster.partition(&self.topic, self.partition).await.map_err(passing)?;
        let deadline = self.cluster.request_timeout();
        let range = async {
            let start = within(deadline, client.get_offset(OffsetAt::Earliest)).await?;
            let end = within(deadline, client.get_offset(OffsetAt::Latest)).await?;
            Ok(start..end)
        };
        match range.await {
            Ok(range) => {
                if let Way::Rskafka(slot) = &mut self.way {
                    *slot = Some(client);
                }
                Ok(range)
            }
            Err(error) => {
                self.cluster.discard();
                Err(passing(error))
            }
        }
    }

    /// The inner error is why rskafka cannot read this log.
    async fn read_by_rskafka(&mut self, from: i64) -> Result<Result<Fetched, String>, ReadError> {
        let Way::Rskafka(slot) = &mut self.way else { return Ok(Err("it is not plain".to_owned())) };
        let client = match slot.take() {
            Some(client) => client,
            None => self.cluster.partition(&self.topic, self.partition).await.map_err(passing)?,
        };
        // rskafka takes a range that excludes its end.
        let bytes = 1..self.max_bytes.saturating_add(1);
        let fetching = client.fetch_records(from, bytes, MAX_WAIT.as_millis() as i32);
        let (records, end) = match within(self.cluster.request_timeout() + MAX_WAIT, fetching).await {
            Ok(fetched) => fetched,
            Err(error) if error.protocol() == Some(ProtocolError::OffsetOutOfRange) => {
                *slot = Some(client);
                return Err(ReadError::OutOfRange);
            }
            Err(error) if error.is_unreadable() => return Ok(Err(error.to_string())),
            Err(error) => {
                self.cluster.discard();
                return Err(passing(error));
            }
        };
        *slot = Some(client);
        let Some(last) = records.last() else {
            let stands_still = end > from;
            let nothing = Fetched { next: from, end, ..Fetched::default() };
            return Ok(if stands_still {
                Err("it stands still below the end".to_owned())
            } else {
                Ok(nothing)
            });
        };
        let next = last.offset + 1;
        if next < end && self.aborted_across(next).await? {
            return Ok(Err("it has aborted transactions".to_owned()));
        }
        let records = records.into_iter().map(|record| plain(self.partition, record)).collect();
        Ok(Ok(Fetched { records, next, end, has_aborted: false }))
    }

    /// Whether an aborted transaction has records on both sides of `offset`.
    async fn aborted_across(&mut self, offset: i64) -> Result<bool, ReadError> {
        let mut connection = self.connect().await.map_err(failed)?;
        let least = connection.fetch(&self.topic, self.partition, offset, 1, 0).await.map_err(failed)?;
        Ok(least.has_aborted)
    }

    async fn read_by_ourselves(
        &mut self,
        from: i64,
        max_bytes: i32,
        max_wait: Duration,
    ) -> Result<Fetched, ReadError> {
        let taken = match &mut self.way {
            Way::Own(slot) => slot.take(),
            Way::Rskafka(_) => None,
        };
        let mut connection = match taken {
            Some(connection) => connection,
            None => self.connect().await.map_err(failed)?,
        };
        let max_wait_ms = max_wait.as_millis() as i32;
        let fetched = connection.fetch(&self.topic, self.partition, from, max_bytes, max_wait_ms).await;
        // A malformed or out-of-range answer was whole: the connection is still good.
        if !connection.is_unusable()
            && let Way::Own(slot) = &mut self.way
            && (fetched.is_ok() || matches!(&fetched, Err(error) if keeps_connection(error)))
        {
            *slot = Some(connection);
        }
        fetched.map_err(failed)
    }

    /// A connection of our own to the partition's leader.
    async fn connect(&self) -> Result<Connection, WireError> {
        let mut any = self.cluster.connect().await?;
        let (host, port) = topic::leader(&mut any, &self.topic, self.partition).await?;
        self.cluster.connect_to(&host, port).await
    }
}

fn plain(partition: i32, read: RecordAndOffset) -> Record {
    Record {
        partition,
        offset: read.offset,
        timestamp: timestamp(read.record.timestamp.timestamp_millis()),
        key: read.record.key.map(Into::into),
        value: read.record.value.map(Into::into),
        headers: read.record.headers.into_iter().map(|(name, value)| (name, Some(value.into()))).collect(),
    }
}

fn passing(error: CallError) -> ReadError {
    ReadError::Passing(error.to_string())
}

fn failed(error: WireError) -> ReadError {
    match error {
        WireError::Refused { error: ResponseError::OffsetOutOfRange, .. } => ReadError::OutOfRange,
        WireError::Malformed { reason, .. } => ReadError::Undecodable(reason),
        error => ReadError::Passing(error.to_string()),
    }
}

fn keeps_connection(error: &WireError) -> bool {
    matches!(
        error,
        WireError::Malformed { .. } | WireError::Refused { error: ResponseError::OffsetOutOfRange, .. }
    )
}
