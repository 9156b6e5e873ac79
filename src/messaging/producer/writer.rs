//! A partition's way to its leader, for writing: rskafka, and a Produce of our own that sees what rskafka hides.
//!
//! Kafka answers a client that passes its quota with a time to wait (KIP-219). rskafka takes such an answer for a
//! failure: it waits, and writes the same records again, which are throttled again. So the first batch goes by our
//! own Produce, and one every [`LOOK`]; what goes well is rskafka's, and while Kafka throttles, is slow, or was just
//! found again, our own writes. That waits as long as it is told before the next batch, which gathers meanwhile.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use log::{info, warn};
use rskafka::{
    client::{
        error::ProtocolError,
        partition::{Compression, PartitionClient},
    },
    record::Record,
};
use thiserror::Error;
use tokio::{task::JoinHandle, time::Instant};

use crate::messaging::{
    Cluster, Message,
    cluster::{CallError, within},
    topic,
    wire::{Connection, WireError, encode_batch},
};

/// How often our own Produce looks whether Kafka throttles.
const LOOK: Duration = Duration::from_secs(10);
/// For so long it goes on writing after it had reason to.
const CALM: Duration = Duration::from_secs(30);
/// An answer to rskafka that takes longer may be one that it threw away.
const SLOW: Duration = Duration::from_secs(1);

/// Writes to one partition.
#[derive(Debug)]
pub(super) struct Writer {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    own: Option<Connection>,
    rskafka: Option<PartitionClient>,
    /// rskafka's way, being looked for while our own writes: it may lead through a broker that hangs.
    opening: Option<JoinHandle<Option<PartitionClient>>>,
    /// From then on our own Produce writes.
    look_at: Instant,
    /// Until then it has reason to.
    calm_at: Instant,
    throttled: bool,
    /// Until then Kafka takes nothing.
    paused_until: Instant,
}

/// Records as those take them who are to write them.
pub(super) enum Load {
    Rskafka(PartitionClient, Vec<Record>),
    Own(Bytes, usize),
}

/// Why nothing was acknowledged.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Rskafka(#[from] CallError),
    #[error(transparent)]
    Own(#[from] WireError),
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

macro_rules! refusal {
    ($errors:ident, $code:expr) => {
        match $code {
            $errors::MessageTooLarge | $errors::RecordListTooLarge => Refusal::TooLarge,
            $errors::TopicAuthorizationFailed | $errors::ClusterAuthorizationFailed => Refusal::Rights,
            $errors::InvalidRecord
            | $errors::InvalidTimestamp
            | $errors::InvalidTopicException
            | $errors::InvalidRequiredAcks
            | $errors::UnsupportedForMessageFormat
            | $errors::PolicyViolation => Refusal::Invalid,
            $errors::LeaderNotAvailable | $errors::NotEnoughReplicas | $errors::ThrottlingQuotaExceeded => {
                Refusal::NotBegun
            }
            // Too few replicas after the append, or the leadership gone while it waited for them (DelayedProduce).
            _ => Refusal::Passing,
        }
    };
}

impl WriteError {
    /// What the broker said, where it is one that answered.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Rskafka(error) => error.protocol().map(|code| refusal!(ProtocolError, code)),
            Self::Own(error) => error.code().map(|code| refusal!(ResponseError, code)),
        }
    }
}

impl Writer {
    /// Without a connection yet.
    pub(super) fn new(cluster: Arc<Cluster>, topic: Arc<str>, partition: i32) -> Self {
        let now = Instant::now();
        Self {
            cluster,
            topic,
            partition,
            own: None,
            rskafka: None,
            opening: None,
            look_at: now,
            calm_at: now,
            throttled: false,
            paused_until: now,
        }
    }

    /// Whether there is a way to the leader, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.own.is_some()
    }

    /// Until when Kafka takes nothing, where that is to come.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        (self.paused_until > Instant::now()).then_some(self.paused_until)
    }

    /// Asks a broker which one leads the partition: its host and port.
    pub(super) async fn leader(&self) -> Result<(String, i32), WireError> {
        let mut connection = self.cluster.connect().await?;
        topic::leader(&mut connection, &self.topic, self.partition).await
    }

    /// Makes a connection to that broker.
    pub(super) async fn connect(&mut self, (host, port): &(String, i32)) -> Result<(), WireError> {
        self.own = Some(self.cluster.connect_to(host, *port).await?);
        Ok(())
    }

    /// Forgets its connections: the next batch finds the leader anew, and goes by our own Produce.
    pub(super) fn close(&mut self) {
        self.own = None;
        self.rskafka = None;
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        self.cluster.discard();
        self.look_at = Instant::now();
    }

    /// Decides who writes these messages.
    pub(super) fn load<'a>(&mut self, messages: impl Iterator<Item = &'a Message> + Clone) -> Load {
        if Instant::now() < self.look_at {
            if let Some(client) = self.rskafka.take() {
                return Load::Rskafka(client, messages.cloned().map(record).collect());
            }
            self.look_for_rskafka();
        }
        Load::Own(encode_batch(messages.clone()), messages.count())
    }

    /// Sends them; returns their offsets. After an error that is not the broker's word the way is closed.
    pub(super) async fn send(&mut self, load: Load, patience: Duration) -> Result<Vec<i64>, WriteError> {
        match load {
            Load::Rskafka(client, records) => {
                let call = within(patience.min(SLOW), client.produce(records, Compression::NoCompression));
                let written = call.await;
                match &written {
                    Err(CallError::TimedOut(_)) => self.calm_at = Instant::now() + CALM,
                    // rskafka finds a leader that moved by itself, but not always: we look for it ourselves.
                    Err(_) => {}
                    Ok(_) => self.rskafka = Some(client),
                }
                written.map_err(WriteError::from)
            }
            Load::Own(batch, count) => {
                let Some(mut own) = self.own.take() else { return Ok(Vec::new()) };
                let produced = own.produce(&self.topic, self.partition, batch, patience).await?;
                self.own = Some(own);
                self.note(produced.throttle);
                let first = produced.written?;
                Ok((first..).take(count).collect())
            }
        }
    }

    /// How our own Produce was answered.
    fn note(&mut self, throttle: Duration) {
        let now = Instant::now();
        let (topic, partition) = (&self.topic, self.partition);
        if !throttle.is_zero() {
            self.paused_until = now + throttle;
            (self.look_at, self.calm_at) = (now, now + CALM);
            if !self.throttled {
                self.throttled = true;
                warn!(
                    "writing to {topic}/{partition}: Kafka throttles this client by a quota; waiting as it says"
                );
            }
        } else if now >= self.calm_at {
            self.look_at = now + LOOK;
            if self.throttled {
                self.throttled = false;
                info!("writing to {topic}/{partition}: Kafka throttles no more");
            }
        }
    }

    fn look_for_rskafka(&mut self) {
        if self.rskafka.is_some() {
            return;
        }
        match self.opening.take_if(|opening| opening.is_finished()) {
            Some(opening) => match futures::FutureExt::now_or_never(opening) {
                Some(Ok(Some(client))) => self.rskafka = Some(client),
                // Not now: our own goes on writing for a while.
                _ => {
                    self.look_at = Instant::now();
                    self.calm_at = self.look_at + LOOK;
                }
            },
            None if self.opening.is_none() => {
                let (cluster, topic) = (Arc::clone(&self.cluster), Arc::clone(&self.topic));
                let partition = self.partition;
                self.opening =
                    Some(tokio::spawn(async move { cluster.partition(&topic, partition).await.ok() }));
            }
            None => {}
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
    }
}

/// As rskafka has it: of the headers of one name the last is kept.
fn record(message: Message) -> Record {
    Record {
        key: message.key,
        value: message.value,
        headers: message.headers.into_iter().collect(),
        timestamp: message.timestamp,
    }
}
