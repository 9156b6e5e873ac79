//! The reader of a partition: rskafka at the end of a plain log, our own Fetch everywhere else.
//!
//! rskafka does not tell whether a record belongs to an aborted transaction. But a stretch up to the high watermark
//! holds the marker of each transaction in it, and rskafka fails on markers: a stretch that it reads up to the end is
//! plain. A stretch that ends earlier may stop between an aborted record and its marker. So a reader behind the end
//! uses our own Fetch, which is told of aborted transactions.
//!
//! A reader reads one topic, whatever other has its name later: a recreated topic has another id (KIP-516). Our own
//! Fetch asks by the id; rskafka asks by the name, and so for a moment only.

use std::{mem, ops::Range, sync::Arc, time::Duration};

use kafka_protocol::ResponseError;
use log::{debug, info};
use rskafka::{
    client::{error::ProtocolError, partition::PartitionClient},
    record::RecordAndOffset,
};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    Cluster, Record,
    cluster::{CallError, within},
    leader,
    message::timestamp,
    topic,
    wire::{Connection, Fetched, WireError},
};

/// How long a broker may hold a fetch that finds nothing new.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// How long rskafka may read by the topic's name after a fetch by its id.
const TOPIC_ID_MAX_AGE: Duration = Duration::from_secs(1);

/// The reason why rskafka does not read such a topic.
const BROKERS_TIME: &str = "its records have the broker's time (LogAppendTime), which rskafka does not tell";

/// The delay before a second look at an offset that is out of range.
const RECHECK_DELAY: Duration = Duration::from_secs(1);

/// How long Kafka may throttle a read before that is an error.
const THROTTLED_FOR: Duration = Duration::from_secs(60);

/// Reads one partition from its leader.
#[derive(Debug)]
pub struct Reader {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    max_bytes: i32,
    /// The topic's id; `None` until it is known, and on a cluster without ids.
    id: Option<Uuid>,
    /// The time until which the topic is taken to have that id; `None` on a cluster without ids.
    topic_id_until: Option<Instant>,
    /// Whether rskafka can read this log, as far as is known.
    plain: bool,
    /// Whether the last read ended at the log's end.
    at_end: bool,
    rskafka: Option<PartitionClient>,
    own: Option<Connection>,
}

/// The result of a read by rskafka.
enum RskafkaRead {
    /// Plain records up to the log's end.
    Records(Fetched),
    /// The read ended before the log does: our own Fetch reads it again.
    BehindEnd,
    /// rskafka cannot read this log.
    Unreadable(String),
}

/// The error of a read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset is below the log's start or beyond its end, as its newest leader says.
    #[error("the offset is out of the log's range")]
    OutOfRange,
    /// The topic was deleted and recreated.
    #[error("the topic was deleted and made again")]
    TopicRecreated,
    /// The batch at the offset cannot be decoded.
    #[error("{0}")]
    Undecodable(String),
    /// An error that may pass.
    #[error("{0}")]
    Transient(String),
}

impl Reader {
    /// A reader that connects at its first read; `max_bytes` is about the most that a fetch returns.
    pub fn new(cluster: Arc<Cluster>, topic: Arc<str>, partition: i32, max_bytes: i32) -> Self {
        Self {
            cluster,
            topic,
            partition,
            max_bytes,
            id: None,
            topic_id_until: None,
            plain: true,
            at_end: false,
            rskafka: None,
            own: None,
        }
    }

    /// The topic's name.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's id, once it is known.
    pub(super) fn topic_id(&self) -> Option<Uuid> {
        self.id
    }

    /// Reads the topic that has the name now.
    pub(super) fn restart(&mut self) {
        (self.id, self.topic_id_until) = (None, None);
        (self.plain, self.at_end, self.rskafka, self.own) = (true, false, None, None);
    }

    /// The next records at `from` or after it; empty if none comes within half a second. After an error the next call
    /// connects anew.
    ///
    /// # Errors
    ///
    /// Out of range, if the newest leader says so; recreated, if most replicas say so; or an error that may pass.
    pub async fn read(&mut self, from: i64) -> Result<Fetched, ReadError> {
        let read = self.read_once(from).await;
        if !matches!(read, Err(ReadError::OutOfRange | ReadError::TopicRecreated)) {
            return read;
        }
        self.cluster.discard();
        (self.rskafka, self.own, self.at_end) = (None, None, false);
        // Twice, as most replicas may not have heard of an election that was just now.
        for look in 0..2 {
            if look > 0 {
                sleep(RECHECK_DELAY).await;
            }
            let range = self.range().await?;
            if matches!(read, Err(ReadError::TopicRecreated)) {
                let reason = "a broker does not know the topic's id, which the newest leader does";
                return Err(ReadError::Transient(reason.to_owned()));
            }
            if (range.start..=range.end).contains(&from) {
                let reason = format!(
                    "offset {from} is out of range by a broker's word, and in it by the newest leader's, which has \
                     {range:?}"
                );
                return Err(ReadError::Transient(reason));
            }
        }
        read
    }

    async fn read_once(&mut self, from: i64) -> Result<Fetched, ReadError> {
        // Taken: after an error of rskafka our own Fetch is tried next.
        let is_sure = self.topic_id_until.is_none_or(|until| Instant::now() < until);
        if self.plain && mem::take(&mut self.at_end) && is_sure {
            match self.read_by_rskafka(from).await? {
                RskafkaRead::Records(fetched) => {
                    self.at_end = true;
                    return Ok(fetched);
                }
                RskafkaRead::BehindEnd => {}
                RskafkaRead::Unreadable(why) => self.leave_rskafka(&why),
            }
        }
        let fetched = self.read_by_own_fetch(from).await?;
        self.at_end = fetched.next >= fetched.end;
        if fetched.append_time {
            self.leave_rskafka(BROKERS_TIME);
        }
        Ok(fetched)
    }

    /// Reads this log by our own Fetch from now on.
    fn leave_rskafka(&mut self, why: &str) {
        if self.plain {
            info!("{}/{}: read by our own fetch from now on: {why}", self.topic, self.partition);
        }
        (self.plain, self.rskafka) = (false, None);
    }

    /// The offsets that the log has, as its newest leader says: from the first record to the high watermark.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub async fn range(&mut self) -> Result<Range<i64>, ReadError> {
        let asking = async {
            let newest = leader::newest(&self.cluster, &self.topic, self.partition).await?;
            let (host, port) = newest.leader;
            let mut connection = self.cluster.connect_to(&host, port).await?;
            let range = connection.offsets(&self.topic, self.partition, newest.epoch).await?;
            Ok((connection, newest.topic, range))
        };
        let (connection, id, range) = asking.await.map_err(read_error)?;
        if self.id.zip(id).is_some_and(|(known, now)| known != now) {
            return Err(ReadError::TopicRecreated);
        }
        self.id = self.id.or(id);
        self.own = Some(connection);
        Ok(range)
    }

    async fn read_by_rskafka(&mut self, from: i64) -> Result<RskafkaRead, ReadError> {
        let client = match self.rskafka.take() {
            Some(client) => client,
            None => {
                if let Some(why) = self.unreadable_topic().await.map_err(read_error)? {
                    return Ok(RskafkaRead::Unreadable(why));
                }
                match self.cluster.partition(&self.topic, self.partition).await {
                    Ok(client) => client,
                    // It tries one address of a name, and our own Fetch all of them.
                    Err(error @ CallError::TimedOut(_)) => {
                        return Ok(RskafkaRead::Unreadable(format!("rskafka finds no way to it: {error}")));
                    }
                    Err(error) => return Err(transient(error)),
                }
            }
        };
        // rskafka's range excludes its end.
        let bytes = 1..self.max_bytes.saturating_add(1);
        let fetching = client.fetch_records(from, bytes, MAX_WAIT.as_millis() as i32);
        let (records, end) = match within(self.cluster.request_timeout() + MAX_WAIT, fetching).await {
            Ok(fetched) => fetched,
            Err(error) if error.protocol() == Some(ProtocolError::OffsetOutOfRange) => {
                return Err(ReadError::OutOfRange);
            }
            Err(error) if error.is_unreadable() => return Ok(RskafkaRead::Unreadable(error.to_string())),
            Err(error) => {
                self.cluster.discard();
                // That connection may be to the same leader, and to a topic that is deleted.
                self.own = None;
                return Err(transient(error));
            }
        };
        if let Some(why) = unreadable_by_rskafka(&records, end) {
            return Ok(RskafkaRead::Unreadable(why.to_owned()));
        }
        self.rskafka = Some(client);
        let next = records.last().map_or(from, |last| last.offset + 1);
        if next < end {
            let stuck = records.is_empty();
            let why = "it does not move on below the end".to_owned();
            return Ok(if stuck { RskafkaRead::Unreadable(why) } else { RskafkaRead::BehindEnd });
        }
        let records = records.into_iter().map(|record| plain(self.partition, record)).collect();
        // A log that was read to its end has no open transaction.
        Ok(RskafkaRead::Records(Fetched { records, next, end, stable: end, append_time: false }))
    }

    async fn read_by_own_fetch(&mut self, from: i64) -> Result<Fetched, ReadError> {
        let mut connection = match self.own.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(read_error)?,
        };
        let (partition, max_bytes, max_wait_ms) =
            (self.partition, self.max_bytes, MAX_WAIT.as_millis() as i32);
        let id = self.id.filter(|_| connection.fetches_by_id());
        let began = Instant::now();
        let fetched = loop {
            let fetched = match id {
                Some(id) => connection.fetch_by_id(id, partition, from, max_bytes, max_wait_ms).await,
                None => connection.fetch(&self.topic, partition, from, max_bytes, max_wait_ms).await,
            };
            // Until then the broker reads nothing from this connection. The fetch returned nothing, and that is no
            // error.
            match fetched {
                Err(WireError::Throttled(throttle)) if began.elapsed() < THROTTLED_FOR => {
                    debug!("{}/{}: Kafka throttles reading for {throttle:?}", self.topic, self.partition);
                    sleep(throttle.min(THROTTLED_FOR)).await;
                }
                fetched => break fetched,
            }
        };
        // A malformed answer was read whole: the connection is still good.
        if !connection.is_unusable()
            && (fetched.is_ok() || matches!(&fetched, Err(error) if keeps_connection(error)))
        {
            self.own = Some(connection);
        }
        // From the time of the request: the answer may have waited long for this task.
        self.topic_id_until = id.map(|_| began + TOPIC_ID_MAX_AGE);
        fetched.map_err(read_error)
    }

    /// A connection of our own to the partition's leader.
    async fn connect(&mut self) -> Result<Connection, WireError> {
        let mut any = self.cluster.connect().await?;
        let known = topic::leadership(&mut any, &self.topic, self.partition).await?;
        let (host, port) = known.leader.ok_or(topic::NO_LEADER)?;
        if self.id.zip(known.topic).is_some_and(|(known, now)| known != now) {
            // A broker before Kafka 3.1 knows ids and fetches by name: it would not notice.
            return Err(WireError::Refused { what: "Metadata", error: ResponseError::UnknownTopicId });
        }
        self.id = self.id.or(known.topic);
        self.cluster.connect_to(&host, port).await
    }

    /// The reason why rskafka cannot read the topic, if its settings or the lack of them give one.
    async fn unreadable_topic(&self) -> Result<Option<String>, WireError> {
        let settings = topic::settings(&mut self.cluster.connect().await?, &self.topic).await;
        let stamped = ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned());
        match settings {
            Ok(settings) => Ok(settings.contains(&stamped).then(|| BROKERS_TIME.to_owned())),
            // Rights are missing; or a broker that is not Apache Kafka's has no DescribeConfigs.
            Err(error) if error.is_final() || matches!(error, WireError::Unsupported(_)) => {
                Ok(Some(format!("whether it has the broker's time (LogAppendTime) cannot be asked: {error}")))
            }
            Err(error) => Err(error),
        }
    }
}

/// The reason why these records may not be all that the log has.
fn unreadable_by_rskafka(records: &[RecordAndOffset], end: i64) -> Option<&'static str> {
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
        headers: Vec::new(), // our own Fetch reads records with headers
    }
}

fn transient(error: CallError) -> ReadError {
    ReadError::Transient(match error.protocol() {
        Some(ProtocolError::TopicAuthorizationFailed) => {
            format!("{error} (this user may not read the topic: allow READ on it)")
        }
        _ => error.to_string(),
    })
}

fn read_error(error: WireError) -> ReadError {
    match error {
        WireError::Refused { error: ResponseError::OffsetOutOfRange, .. } => ReadError::OutOfRange,
        WireError::Refused { error: ResponseError::UnknownTopicId, .. } => ReadError::TopicRecreated,
        WireError::Malformed { reason, .. } => ReadError::Undecodable(reason),
        error => ReadError::Transient(error.explained()),
    }
}

fn keeps_connection(error: &WireError) -> bool {
    matches!(error, WireError::Malformed { .. } | WireError::Throttled(_))
}
