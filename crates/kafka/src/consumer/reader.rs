//! The reader of a partition: rskafka at the end of a plain log, our own Fetch everywhere else.
//!
//! A fetch that ends before the log does may stop between an aborted record and its marker: the tail reader drops it,
//! and our own Fetch, which is told of aborted transactions, reads on until the end is reached.
//!
//! A reader reads one topic, whatever other has its name later: a recreated topic has another id (KIP-516). Our own
//! Fetch asks by the id; rskafka asks by the name, and so for a moment only.

use std::{mem, ops::Range, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use kafka_protocol::ResponseError;
use log::{debug, info};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    Cluster, TransientError, leader,
    rskafka_client::{APPEND_TIME, TailRead, TailReader},
    topic,
    wire::{Connection, Fetched, WireError},
};

/// How long a broker may hold a fetch that finds nothing new.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// How long rskafka may read by the topic's name after a fetch by its id.
const TOPIC_ID_MAX_AGE: Duration = Duration::from_secs(1);

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
    tail: TailReader,
    own: Option<Connection>,
}

/// The error of a read.
#[derive(Debug, Error)]
#[non_exhaustive]
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
    #[error(transparent)]
    Transient(TransientError),
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
            tail: TailReader::default(),
            own: None,
        }
    }

    /// The topic's name.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's id, once it is known: after [`Reader::range`], on a cluster that has ids.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.id
    }

    /// Reads the topic that has the name now.
    pub(super) fn restart(&mut self) {
        (self.id, self.topic_id_until) = (None, None);
        (self.plain, self.at_end, self.own) = (true, false, None);
        self.tail.close();
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
        self.cluster.rskafka().discard();
        self.tail.close();
        (self.own, self.at_end) = (None, false);
        // Twice, as most replicas may not have heard of an election that was just now.
        for look in 0..2 {
            if look > 0 {
                sleep(RECHECK_DELAY).await;
            }
            let range = self.range().await?;
            if matches!(read, Err(ReadError::TopicRecreated)) {
                let reason = "a broker does not know the topic's id, which the newest leader does";
                return Err(ReadError::Transient(TransientError::new(reason)));
            }
            if (range.start..=range.end).contains(&from) {
                let reason = format!(
                    "offset {from} is out of range by a broker's word, and in it by the newest leader's, which has \
                     {range:?}"
                );
                return Err(ReadError::Transient(TransientError::new(reason)));
            }
        }
        read
    }

    async fn read_once(&mut self, from: i64) -> Result<Fetched, ReadError> {
        // Taken: after an error of rskafka our own Fetch is tried next.
        let is_sure = self.topic_id_until.is_none_or(|until| Instant::now() < until);
        if self.plain && mem::take(&mut self.at_end) && is_sure {
            let log = (&*self.topic, self.partition);
            let tail = self.tail.read(&self.cluster, log, from, self.max_bytes, MAX_WAIT).await;
            if tail.is_err() {
                // Perhaps to the same leader, and of a topic that was deleted: it is looked up anew.
                self.own = None;
            }
            match tail? {
                TailRead::Plain(fetched) => {
                    self.at_end = true;
                    return Ok(fetched);
                }
                TailRead::Behind => {}
                TailRead::NotPlain(why) => self.leave_rskafka(&why),
            }
        }
        let fetched = self.read_by_own_fetch(from).await?;
        self.at_end = fetched.next >= fetched.end;
        if fetched.append_time {
            self.leave_rskafka(APPEND_TIME);
        }
        Ok(fetched)
    }

    /// Reads this log by our own Fetch from now on.
    fn leave_rskafka(&mut self, why: &str) {
        if self.plain {
            info!("{}/{}: read by our own fetch from now on: {why}", self.topic, self.partition);
        }
        self.plain = false;
        self.tail.close();
    }

    /// The offsets that the log has, as its newest leader says: from the first record to the last stable offset.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub async fn range(&mut self) -> Result<Range<i64>, ReadError> {
        let (mut leader, epoch) = self.newest_leader().await?;
        let range = leader.offsets(&self.topic, self.partition, epoch).await?;
        self.own = Some(leader);
        Ok(range)
    }

    /// The offset of the first record whose timestamp is that time or later; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub async fn offset_at(&mut self, time: DateTime<Utc>) -> Result<Option<i64>, ReadError> {
        let (mut leader, epoch) = self.newest_leader().await?;
        let millis = time.timestamp_millis();
        let offset = leader.offset_at(&self.topic, self.partition, epoch, millis).await?;
        self.own = Some(leader);
        Ok(offset)
    }

    /// A connection to the newest leader, and its epoch.
    async fn newest_leader(&mut self) -> Result<(Connection, i32), ReadError> {
        let newest = leader::newest(&self.cluster, &self.topic, self.partition).await?;
        let (host, port) = newest.leader;
        let connection = self.cluster.connect_to(&host, port).await?;
        if self.id.zip(newest.topic).is_some_and(|(known, now)| known != now) {
            return Err(ReadError::TopicRecreated);
        }
        self.id = self.id.or(newest.topic);
        Ok((connection, newest.epoch))
    }

    async fn read_by_own_fetch(&mut self, from: i64) -> Result<Fetched, ReadError> {
        let mut connection = match self.own.take() {
            Some(connection) => connection,
            None => self.connect().await?,
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
        fetched.map_err(ReadError::from)
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
}

impl From<WireError> for ReadError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Refused { error: ResponseError::OffsetOutOfRange, .. } => Self::OutOfRange,
            WireError::Refused { error: ResponseError::UnknownTopicId, .. } => Self::TopicRecreated,
            WireError::Malformed { reason, .. } => Self::Undecodable(reason),
            error => Self::Transient(TransientError::new(Explained(error))),
        }
    }
}

/// An error of our own Fetch, with the advice that goes with it.
#[derive(Debug, Error)]
#[error("{}", .0.explained())]
struct Explained(#[source] WireError);

fn keeps_connection(error: &WireError) -> bool {
    matches!(error, WireError::Malformed { .. } | WireError::Throttled(_))
}
