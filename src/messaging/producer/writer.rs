//! A partition's way to its leader, for writing: a connection of our own, and the pauses that Kafka asks for.
//!
//! Kafka answers a client that passes its quota that the records are written, and how long to wait before the
//! next (KIP-219). rskafka takes such an answer for a failure and writes the same records again, and it keeps one
//! header of a name. So writing goes by our own Produce.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use log::{info, warn};
use tokio::time::{Instant, sleep};

use crate::messaging::{
    Cluster, topic,
    wire::{Connection, WireError},
};

/// For so long after the last pause Kafka counts as throttling.
const CALM: Duration = Duration::from_secs(30);

/// How often a lane that is throttled looks whether its partition moved.
const LOOK: Duration = Duration::from_secs(1);

/// Writes to one partition.
#[derive(Debug)]
pub(super) struct Writer {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    connection: Option<Connection>,
    /// While the leader throttles, and for a while after: when its pause ends. A quota is a broker's own, so what
    /// one asked for does not bind the next.
    throttle: Option<Instant>,
}

/// What a broker's refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Smaller batches would be taken.
    TooLarge,
    /// The client's rights.
    Rights,
    /// A record.
    Invalid,
    /// The state of the cluster, before the broker had begun to append.
    NotBegun,
    /// The state of the cluster; the records may have been appended before it was found out.
    Passing,
}

/// What the broker said, where it is one that answered.
pub(super) fn refusal(error: &WireError) -> Option<Refusal> {
    use ResponseError as E;
    Some(match error.code()? {
        E::MessageTooLarge | E::RecordListTooLarge => Refusal::TooLarge,
        E::TopicAuthorizationFailed | E::ClusterAuthorizationFailed => Refusal::Rights,
        E::InvalidRecord
        | E::InvalidTimestamp
        | E::InvalidTopicException
        | E::InvalidRequiredAcks
        | E::UnsupportedForMessageFormat
        | E::PolicyViolation => Refusal::Invalid,
        E::LeaderNotAvailable | E::NotEnoughReplicas | E::ThrottlingQuotaExceeded => Refusal::NotBegun,
        // Too few replicas after the append, or the leadership gone while it waited for them (DelayedProduce).
        _ => Refusal::Passing,
    })
}

impl Writer {
    /// Without a connection yet.
    pub(super) fn new(cluster: Arc<Cluster>, topic: Arc<str>, partition: i32) -> Self {
        Self { cluster, topic, partition, connection: None, throttle: None }
    }

    /// Whether there is a way to the leader, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Until when Kafka takes nothing, where that is to come.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.throttle.filter(|until| *until > Instant::now())
    }

    /// Asks a broker which one leads the partition: its host and port.
    pub(super) async fn leader(&self) -> Result<(String, i32), WireError> {
        let mut connection = self.cluster.connect().await?;
        topic::leader(&mut connection, &self.topic, self.partition).await
    }

    /// Until another broker leads the partition than the one that is written to.
    pub(super) async fn moved(&self) {
        loop {
            sleep(LOOK).await;
            let Some(connection) = &self.connection else { return };
            if let Ok((host, port)) = self.leader().await
                && Cluster::address(&host, port) != connection.address()
            {
                return;
            }
        }
    }

    /// Makes a connection to that broker.
    pub(super) async fn connect(&mut self, (host, port): &(String, i32)) -> Result<(), WireError> {
        self.connection = Some(self.cluster.connect_to(host, *port).await?);
        Ok(())
    }

    /// Forgets its connection: the next batch finds the leader anew.
    pub(super) fn close(&mut self) {
        self.connection = None;
        self.throttle = None;
    }

    /// Sends a batch; returns the offset of its first record, the others follow it. After an error that is not
    /// the broker's word the way is closed; where it was closed before, nothing is sent, and `None` says so.
    pub(super) async fn send(&mut self, batch: Bytes, patience: Duration) -> Result<Option<i64>, WireError> {
        let Some(mut connection) = self.connection.take() else { return Ok(None) };
        let produced = connection.produce(&self.topic, self.partition, batch, patience).await?;
        self.connection = Some(connection);
        self.note(produced.throttle);
        produced.written.map(Some)
    }

    /// Notes what the broker said of its quota.
    fn note(&mut self, pause: Duration) {
        let (topic, partition) = (&self.topic, self.partition);
        if !pause.is_zero() {
            if self.throttle.replace(Instant::now() + pause).is_none() {
                warn!(
                    "writing to {topic}/{partition}: Kafka throttles this client by a quota; waiting as it says"
                );
            }
        } else if self.throttle.is_some_and(|until| until + CALM < Instant::now()) {
            self.throttle = None;
            info!("writing to {topic}/{partition}: Kafka throttles no more");
        }
    }
}
