//! The reader of a partition: our own Fetch, to the leader and in the leader's epoch.
//!
//! A reader reads one topic, even if another topic has its name later: a recreated topic has another id (KIP-516), and the
//! fetch names the id. It reads one history of the log (KIP-320). Each fetch names the leader epoch, so that a broker
//! answers only in that epoch. On a new connection, and so in each new epoch, OffsetForLeaderEpoch tells whether the
//! leader's log has the records that were read, before reading goes on
//! (`SubscriptionState.maybeValidatePositionForCurrentLeader` in Java).

use std::{ops::Range, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use kafka_protocol::{
    ResponseError,
    messages::{
        TopicName,
        fetch_request::{FetchPartition, FetchTopic},
    },
    protocol::StrBytes,
};
use log::debug;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ReadError;
use crate::{
    Cluster, FetchPosition, LeaderEpochs, TransientError, leader, topic,
    wire::{Connection, Fetched, WireError},
};

/// The time for which a broker may hold a fetch that finds nothing new.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// The delay before a second look at an offset that is out of range.
const RECHECK_DELAY: Duration = Duration::from_secs(1);

/// The epoch of a broker that tells none.
const NO_EPOCH: i32 = -1;

/// The time after which a throttled read is an error.
const THROTTLED_FOR: Duration = Duration::from_secs(60);

/// Reads one partition from its leader.
#[derive(Debug)]
pub struct Reader {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    max_bytes: i32,
    max_wait: Duration,
    /// The topic's id; `None` until it is known, and on a cluster without ids.
    id: Option<Uuid>,
    leader: Option<Leader>,
    /// The newest known leader epoch: an older leader is not asked.
    newest_epoch: i32,
}

/// A connection to the partition's leader.
#[derive(Debug)]
struct Leader {
    connection: Connection,
    /// -1 where the broker has none (before Kafka 2.1).
    epoch: i32,
    /// Whether its log is known to have the records that were read before.
    validated: bool,
}

impl Reader {
    /// A reader that connects at its first read; `max_bytes` is about the most that a fetch returns.
    pub fn new(cluster: Arc<Cluster>, topic: Arc<str>, partition: i32, max_bytes: i32) -> Self {
        let max_wait = MAX_WAIT;
        Self {
            cluster,
            topic,
            partition,
            max_bytes,
            max_wait,
            id: None,
            leader: None,
            newest_epoch: NO_EPOCH,
        }
    }

    /// The same reader, whose reads return at once.
    pub(crate) fn without_waiting(self) -> Self {
        Self { max_wait: Duration::ZERO, ..self }
    }

    /// The topic's name.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// The topic's id, once it is known: after [`Reader::range`], on a cluster that has ids.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.id
    }

    /// Reads the topic that has the name now.
    pub(super) fn restart(&mut self) {
        (self.id, self.leader, self.newest_epoch) = (None, None, NO_EPOCH);
    }

    /// The next records at `from` or after it; empty if none comes within half a second. After an error the next call
    /// connects anew.
    ///
    /// # Errors
    ///
    /// Out of range or truncated, if the newest leader says so; recreated, if most replicas say so; or an error that may
    /// pass.
    pub async fn read(&mut self, from: impl Into<FetchPosition>) -> Result<Fetched, ReadError> {
        let position = from.into();
        match self.read_once(position).await {
            Ok(fetched) => Ok(fetched),
            Err(error) => Err(self.confirmed(position.offset, error).await),
        }
    }

    /// The error of a broker at that offset, after a check with the newest leader.
    async fn confirmed(&mut self, from: i64, error: ReadError) -> ReadError {
        if !matches!(error, ReadError::OutOfRange | ReadError::TopicRecreated) {
            return error;
        }
        self.leader = None;
        // Twice, as most replicas may not have heard of an election that was just now.
        for look in 0..2 {
            if look > 0 {
                sleep(RECHECK_DELAY).await;
            }
            let range = match self.range().await {
                Ok(range) => range,
                Err(error) => return error,
            };
            if matches!(error, ReadError::TopicRecreated) {
                let reason = "a broker does not know the topic's id, which the newest leader does";
                return ReadError::Transient(TransientError::new(reason));
            }
            if (range.start..=range.end).contains(&from) {
                let reason = format!(
                    "offset {from} is out of range by a broker's word, and in it by the newest leader's, which has \
                     {range:?}"
                );
                return ReadError::Transient(TransientError::new(reason));
            }
        }
        error
    }

    /// Checks that the leader's log has the records before the position (`OffsetsForLeaderEpochClient` in Java). `records` has
    /// their epochs, as far as these are known. Returns the position with the epoch of the record before it.
    ///
    /// # Errors
    ///
    /// Truncated, if the newest leader says so; recreated, if most replicas say so; or an error that may pass.
    pub async fn validate(
        &mut self,
        position: FetchPosition,
        records: &LeaderEpochs,
    ) -> Result<FetchPosition, ReadError> {
        match self.validated(position, records).await {
            Err(error) => Err(self.confirmed(position.offset, error).await),
            known => known,
        }
    }

    /// As [`Reader::validate`], by the word of one leader.
    async fn validated(
        &mut self,
        position: FetchPosition,
        records: &LeaderEpochs,
    ) -> Result<FetchPosition, ReadError> {
        let mut leader = self.validated_leader(position, records).await?;
        let mut known = records.position_at(position.offset);
        if known.leader_epoch.is_none() && position.leader_epoch.is_some() {
            known.leader_epoch = self.epoch_before(&mut leader, position.offset).await?;
        }
        self.leader = Some(leader);
        Ok(known)
    }

    /// As [`Reader::validate`]; returns the connection to that leader.
    async fn validated_leader(
        &mut self,
        position: FetchPosition,
        records: &LeaderEpochs,
    ) -> Result<Leader, ReadError> {
        let mut leader = self.leader().await?;
        if let Some(epoch) = position.leader_epoch.filter(|_| leader.epoch >= 0) {
            let is_truncated =
                |end: &Option<FetchPosition>| end.is_none_or(|end| end.offset < position.offset);
            let mut end = self.common_end(&mut leader, epoch, position.offset, records).await?;
            if is_truncated(&end) {
                // The newest leader of the same topic decides: a topic that was made again has other epochs.
                self.range().await?;
                leader = self.leader().await?;
                end = self.common_end(&mut leader, epoch, position.offset, records).await?;
            }
            if is_truncated(&end) {
                return Err(ReadError::Truncated(end));
            }
        }
        // A read without an epoch says nothing about the next one.
        leader.validated = position.leader_epoch.is_some();
        Ok(leader)
    }

    /// The end of what the leader's log has in common with one that has that epoch before the offset.
    ///
    /// Java compares offsets alone. But the leader may have other records, of an earlier epoch, where ours are of this one.
    async fn common_end(
        &self,
        leader: &mut Leader,
        epoch: i32,
        offset: i64,
        records: &LeaderEpochs,
    ) -> Result<Option<FetchPosition>, WireError> {
        let Some(end) = self.end_of(leader, epoch).await? else { return Ok(None) };
        let common = records.common_end(end);
        // A replica that was copied from a compacted log lacks the epochs of which that has no record left.
        let is_in_doubt = common.offset < offset && offset <= end.offset;
        if is_in_doubt && self.epoch_before(leader, offset).await?.is_none() {
            return Ok(Some(end));
        }
        Ok(Some(common))
    }

    /// The leader epoch of the batch before the offset; `None` if the log has none there, since it was compacted or begins at
    /// the offset.
    async fn epoch_before(&self, leader: &mut Leader, offset: i64) -> Result<Option<i32>, WireError> {
        let fetched = match self.fetch(leader, offset - 1).await {
            Err(WireError::Refused { error: ResponseError::OffsetOutOfRange, .. }) => return Ok(None),
            fetched => fetched?,
        };
        match fetched.starts_at {
            Some(start) if start < offset => Ok(fetched.epochs.position_at(offset).leader_epoch),
            // It has more than it shows.
            None if fetched.stable < offset => {
                Err(WireError::Refused { what: "Fetch", error: ResponseError::OffsetNotAvailable })
            }
            _ => Ok(None),
        }
    }

    /// The end of that epoch in the leader's log; beyond all offsets if the broker cannot tell.
    async fn end_of(&self, leader: &mut Leader, epoch: i32) -> Result<Option<FetchPosition>, WireError> {
        match leader.connection.epoch_end(&self.topic, self.partition, leader.epoch, epoch).await {
            Err(WireError::Unsupported(_)) => {
                Ok(Some(FetchPosition { offset: i64::MAX, leader_epoch: Some(epoch) }))
            }
            found => found,
        }
    }

    async fn read_once(&mut self, position: FetchPosition) -> Result<Fetched, ReadError> {
        let mut leader = match self.leader.take() {
            Some(leader) if leader.validated && !leader.connection.is_unusable() => leader,
            other => {
                self.leader = other;
                self.validated_leader(position, &LeaderEpochs::before(position)).await?
            }
        };
        let fetched = self.fetch(&mut leader, position.offset).await;
        // A malformed answer was read whole: the connection is still good.
        let is_kept = fetched.as_ref().map_or_else(keeps_connection, |_| true);
        self.leader = Some(leader).filter(|leader| is_kept && !leader.connection.is_unusable());
        fetched.map_err(ReadError::from)
    }

    async fn fetch(&self, leader: &mut Leader, from: i64) -> Result<Fetched, WireError> {
        let wanted = FetchPartition::default()
            .with_partition(self.partition)
            .with_fetch_offset(from)
            .with_current_leader_epoch(leader.epoch)
            .with_partition_max_bytes(self.max_bytes);
        let topic = match self.id.filter(|_| leader.connection.fetches_by_id()) {
            Some(id) => FetchTopic::default().with_topic_id(id),
            None => {
                FetchTopic::default().with_topic(TopicName(StrBytes::from_string((*self.topic).to_owned())))
            }
        };
        let began = Instant::now();
        loop {
            let max_wait_ms = self.max_wait.as_millis() as i32;
            let fetched = leader.connection.fetch_partition(topic.clone(), wanted.clone(), max_wait_ms).await;
            // Until then the broker reads nothing from this connection. The fetch returned nothing, and that is no
            // error.
            match fetched {
                Err(WireError::Throttled(throttle)) if began.elapsed() < THROTTLED_FOR => {
                    debug!("{}/{}: Kafka throttles reading for {throttle:?}", self.topic, self.partition);
                    sleep(throttle.min(THROTTLED_FOR)).await;
                }
                fetched => return fetched,
            }
        }
    }

    /// The offsets that the log has, as its newest leader says: from the first record to the last stable offset.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub async fn range(&mut self) -> Result<Range<i64>, ReadError> {
        let mut leader = self.newest_leader().await?;
        let range = leader.connection.offsets(&self.topic, self.partition, leader.epoch).await?;
        self.leader = Some(leader);
        Ok(range)
    }

    /// The offset of the first record whose timestamp is that time or later; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub async fn offset_at(&mut self, time: DateTime<Utc>) -> Result<Option<i64>, ReadError> {
        let mut leader = self.newest_leader().await?;
        let millis = time.timestamp_millis();
        let offset = leader.connection.offset_at(&self.topic, self.partition, leader.epoch, millis).await?;
        self.leader = Some(leader);
        Ok(offset)
    }

    /// A connection to the newest leader.
    async fn newest_leader(&mut self) -> Result<Leader, ReadError> {
        let newest = leader::newest(&self.cluster, &self.topic, self.partition).await?;
        let (host, port) = newest.leader;
        let connection = self.cluster.connect_to(&host, port).await?;
        if self.id.zip(newest.topic).is_some_and(|(known, now)| known != now) {
            return Err(ReadError::TopicRecreated);
        }
        self.id = self.id.or(newest.topic);
        self.newest_epoch = self.newest_epoch.max(newest.epoch);
        Ok(Leader { connection, epoch: newest.epoch, validated: false })
    }

    /// The connection to the leader, taken: after an error the next call makes another.
    async fn leader(&mut self) -> Result<Leader, WireError> {
        if let Some(leader) = self.leader.take()
            && !leader.connection.is_unusable()
        {
            return Ok(leader);
        }
        let mut any = self.cluster.connect().await?;
        let known = topic::leadership(&mut any, &self.topic, self.partition).await?;
        let (host, port) = known.leader.ok_or(WireError::NO_LEADER)?;
        if self.id.zip(known.topic).is_some_and(|(known, now)| known != now) {
            // A broker before Kafka 3.1 knows ids and fetches by name: it would not notice.
            return Err(WireError::Refused { what: "Metadata", error: ResponseError::UnknownTopicId });
        }
        // Without ids it may be another topic.
        if known.topic.is_some() && known.epoch < self.newest_epoch {
            return Err(WireError::Refused { what: "Metadata", error: ResponseError::FencedLeaderEpoch });
        }
        self.id = self.id.or(known.topic);
        self.newest_epoch = known.epoch;
        let connection = self.cluster.connect_to(&host, port).await?;
        Ok(Leader { connection, epoch: known.epoch, validated: false })
    }
}

fn keeps_connection(error: &WireError) -> bool {
    matches!(error, WireError::Malformed { .. } | WireError::Throttled(_))
}
