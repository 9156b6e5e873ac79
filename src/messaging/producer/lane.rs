//! One partition's way to Kafka: a batch in flight at a time, tried until acknowledged or out of time.
//!
//! The lane alone answers the callers, also those whose time is up: so nobody hears "not written" of a record
//! that is sent a moment later, and a request costs no timer of its own.

use std::{collections::VecDeque, future::Future, pin::pin, sync::Arc, time::Duration};

use rskafka::client::{
    error::ProtocolError,
    partition::{Compression, PartitionClient},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    Producer,
    batch::{Batch, Gatherer, Pending},
    breaker::{Breaker, Gate},
};
use crate::messaging::{
    Board, Cluster, PublishError,
    backoff::Backoff,
    cluster::{CallError, within},
    counts::ProducerCounts,
    topic,
    wire::WireError,
};

/// How often a call that lasts is left, to answer those whose time is up.
const TICK: Duration = Duration::from_millis(20);

/// Sends the batches of one partition, in order.
#[derive(Debug)]
pub(super) struct Lane {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    board: Arc<Board>,
    /// The part of the board that is this lane's.
    part: String,
    queue: Gatherer,
    client: Option<PartitionClient>,
    /// While the last attempt failed: what Kafka said, and when to try next.
    trouble: Option<Trouble>,
    counts: Arc<ProducerCounts>,
    gate: Arc<Gate>,
    /// Of the broker that leads the partition, once that is known.
    breaker: Option<Arc<Breaker>>,
    breaker_after: Duration,
    /// When the call under way began, or the last one.
    called: Instant,
}

#[derive(Debug)]
struct Trouble {
    error: String,
    backoff: Backoff,
}

/// An attempt without an acknowledgement.
struct Failure {
    error: CallError,
    /// Whether the batch was on its way when it failed.
    sent: bool,
}

/// What a batch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Its turn to be tried.
    Turn,
    /// A connection to the leader.
    Way,
    /// The leader's answer: it is in flight.
    Answer,
}

/// What to do after a batch was not acknowledged.
enum Remedy {
    /// Kafka takes smaller batches only.
    Split,
    /// Kafka will never take one of these records.
    GiveUp,
    /// Kafka takes nothing from us until somebody grants it: state of the cluster, not of the record.
    AskForRights,
    /// It may work later; unanswered, it may be written all the same.
    TryAgain { unanswered: bool },
}

impl Lane {
    /// The lane of one partition, behind that gate.
    pub(super) fn new(
        producer: &Producer,
        partition: i32,
        gate: Arc<Gate>,
        receiver: mpsc::UnboundedReceiver<Pending>,
    ) -> Self {
        let topic = Arc::clone(producer.topic.name());
        Self {
            cluster: Arc::clone(&producer.cluster),
            partition,
            board: Arc::clone(&producer.board),
            part: format!("writing to {topic}/{partition}"),
            topic,
            queue: Gatherer::new(receiver, producer.config.batch_max_bytes),
            client: None,
            trouble: None,
            counts: Arc::clone(&producer.counts),
            gate,
            breaker: None,
            breaker_after: producer.config.breaker_after,
            called: Instant::now(),
        }
    }

    /// Until all senders are gone and what they sent is answered.
    pub(super) async fn run(mut self) {
        loop {
            self.gate.probe_again();
            // Without an event to send, only a look of its own can find that the trouble has passed.
            let wait = self.trouble.as_mut().map(|trouble| trouble.backoff.next_wait());
            let ready = tokio::select! {
                biased;
                ready = self.queue.ready() => ready,
                (leader, found) = look(&self.cluster, &self.topic, self.partition, wait.unwrap_or_default()), if wait.is_some() => {
                    self.leads(leader);
                    self.found(found);
                    continue;
                }
            };
            if !ready {
                break;
            }
            let batch = self.queue.gather().await;
            self.deliver(batch).await;
        }
        self.cluster.breakers().unlink(&self.gate, &self.board);
        self.board.withdraw(&self.part);
    }

    /// Sends a batch, in halves where Kafka finds it too large, and answers each of its callers.
    async fn deliver(&mut self, batch: Batch) {
        let mut parts = VecDeque::from([batch]);
        while let Some(mut batch) = parts.pop_front() {
            let failure = match self.attempt(&mut batch).await {
                Ok(offsets) => {
                    if !offsets.is_empty() {
                        self.note(|breaker| breaker.answered());
                        self.counts.batches.add(1);
                        self.recovered();
                    }
                    batch.acknowledge(self.partition, offsets);
                    continue;
                }
                Err(failure) => failure,
            };
            let error = &failure.error;
            self.judge(&failure);
            match remedy(&failure) {
                Remedy::Split | Remedy::GiveUp if batch.len() > 1 => {
                    let (first, second) = batch.split();
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Remedy::Split => batch.refuse(&PublishError::TooLarge(error.to_string())),
                Remedy::GiveUp => batch.refuse(&PublishError::Refused(error.to_string())),
                Remedy::AskForRights => {
                    let error = format!("no right to write to topic {} (ACL WRITE): {error}", self.topic);
                    self.board.failed(&self.part, &error);
                    batch.refuse(&PublishError::Refused(error));
                    // A look would find nothing wrong; the next event will tell.
                    self.trouble = None;
                }
                Remedy::TryAgain { unanswered } => {
                    if unanswered {
                        batch.mark_unanswered();
                    }
                    self.counts.retries.add(1);
                    let wait = self.failed(error);
                    self.while_expiring(&mut batch, Wait::Turn, sleep(wait)).await;
                    parts.push_front(batch);
                }
            }
        }
    }

    /// One try; nothing is sent, and nothing acknowledged, when nobody waits any more.
    async fn attempt(&mut self, batch: &mut Batch) -> Result<Vec<i64>, Failure> {
        if self.client.is_none() {
            let Some(patience) = self.patience(batch) else { return Ok(Vec::new()) };
            let (cluster, topic) = (Arc::clone(&self.cluster), Arc::clone(&self.topic));
            let asking = timeout(patience, leader(&cluster, &topic, self.partition));
            let asked = self.while_expiring(batch, Wait::Turn, asking).await;
            self.leads(asked.ok().and_then(Result::ok));
            let Some(patience) = self.patience(batch) else { return Ok(Vec::new()) };
            self.called = Instant::now();
            let opening = timeout(patience, cluster.partition(&topic, self.partition));
            let opened = self.while_expiring(batch, Wait::Way, opening).await;
            let opened = opened.unwrap_or(Err(CallError::TimedOut(patience)));
            self.client = Some(opened.map_err(|error| Failure { error, sent: false })?);
        }
        let Some(patience) = self.patience(batch) else { return Ok(Vec::new()) };
        let Some(client) = self.client.take() else { return Ok(Vec::new()) };
        self.called = Instant::now();
        let call = within(patience, client.produce(batch.records(), Compression::NoCompression));
        let written = self.while_expiring(batch, Wait::Answer, call).await;
        let offsets = written.map_err(|error| Failure { error, sent: true })?;
        self.client = Some(client);
        Ok(offsets)
    }

    /// How long a call for those may take of whom somebody still waits; drops the others.
    fn patience(&self, batch: &mut Batch) -> Option<Duration> {
        let now = Instant::now();
        batch.expire(now, false, &self.reason());
        batch.drop_unawaited();
        Some(batch.deadline()?.saturating_duration_since(now).min(self.cluster.request_timeout()))
    }

    /// Waits for something, and answers those whose time comes meanwhile, in the batch and behind it.
    async fn while_expiring<T>(
        &mut self,
        batch: &mut Batch,
        wait: Wait,
        something: impl Future<Output = T>,
    ) -> T {
        let mut something = pin!(something);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return done,
                () = sleep(TICK) => {
                    let (now, reason) = (Instant::now(), self.reason());
                    batch.expire(now, wait == Wait::Answer, &reason);
                    self.queue.expire(now, &reason);
                    if wait != Wait::Turn {
                        let (called, after) = (self.called, self.breaker_after);
                        self.note(|breaker| breaker.waited(called, after));
                    }
                    if self.gate.is_shut() {
                        self.queue.refuse(&self.gate.refusal());
                    }
                }
            }
        }
    }

    fn found(&mut self, found: Result<PartitionClient, CallError>) {
        match found {
            Ok(client) => {
                self.client = Some(client);
                self.note(|breaker| breaker.found());
                self.recovered();
            }
            Err(error) => self.board.failed(&self.part, &error),
        }
    }

    /// The partition's leader is that one, where it could be asked; else it is taken for the one before.
    fn leads(&mut self, leader: Option<String>) {
        let Some(leader) = leader else { return };
        if self.breaker.as_ref().is_none_or(|breaker| breaker.broker() != leader) {
            self.breaker = Some(self.cluster.breakers().link(&leader, &self.gate, &self.board));
        }
    }

    /// Whether the failure is the broker's: what it refuses, it has answered.
    fn judge(&self, failure: &Failure) {
        let (called, after) = (self.called, self.breaker_after);
        match failure.error.protocol() {
            Some(_) if failure.sent => self.note(|breaker| breaker.answered()),
            // The word of whichever broker was asked for the leader.
            Some(_) => {}
            None => self.note(|breaker| breaker.failed(called, after, &failure.error)),
        }
    }

    /// Tells the breaker, and the board what came of it.
    fn note(&self, tell: impl FnOnce(&Breaker) -> bool) {
        if self.breaker.as_deref().is_some_and(tell) {
            self.cluster.breakers().report(&self.board);
        }
    }

    fn recovered(&mut self) {
        self.trouble = None;
        self.board.succeeded(&self.part);
    }

    /// Notes what went wrong; returns how long to wait before another try.
    fn failed(&mut self, error: &CallError) -> Duration {
        self.board.failed(&self.part, error);
        self.client = None;
        self.cluster.discard();
        let trouble =
            self.trouble.get_or_insert_with(|| Trouble { error: String::new(), backoff: Backoff::new() });
        trouble.error = error.to_string();
        trouble.backoff.next_wait()
    }

    /// What those are told whose time is up.
    fn reason(&self) -> String {
        self.trouble
            .as_ref()
            .map_or_else(|| "no answer from Kafka".to_owned(), |trouble| trouble.error.clone())
    }
}

/// Which broker leads the partition, as `host:port`.
async fn leader(cluster: &Cluster, topic: &str, partition: i32) -> Result<String, WireError> {
    let mut connection = cluster.connect().await?;
    let (host, port) = topic::leader(&mut connection, topic, partition).await?;
    Ok(Cluster::address(&host, port))
}

/// After a wait, tries the way to the leader with nothing to send; tells who that is, and how it went.
async fn look(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    wait: Duration,
) -> (Option<String>, Result<PartitionClient, CallError>) {
    sleep(wait).await;
    let leader = leader(cluster, topic, partition).await.ok();
    (leader, cluster.partition(topic, partition).await)
}

fn remedy(failure: &Failure) -> Remedy {
    use ProtocolError as Kafka;
    let Some(code) = failure.error.protocol() else {
        return Remedy::TryAgain { unanswered: failure.sent };
    };
    match code {
        Kafka::MessageTooLarge | Kafka::RecordListTooLarge => Remedy::Split,
        Kafka::TopicAuthorizationFailed | Kafka::ClusterAuthorizationFailed => Remedy::AskForRights,
        Kafka::InvalidRecord
        | Kafka::InvalidTimestamp
        | Kafka::InvalidTopicException
        | Kafka::InvalidRequiredAcks
        | Kafka::UnsupportedForMessageFormat
        | Kafka::PolicyViolation => Remedy::GiveUp,
        // The broker had not begun to append.
        Kafka::LeaderNotAvailable | Kafka::NotEnoughReplicas | Kafka::ThrottlingQuotaExceeded => {
            Remedy::TryAgain { unanswered: false }
        }
        // Appended, and then too few replicas, or the leadership gone while it waited for them (DelayedProduce).
        _ => Remedy::TryAgain { unanswered: failure.sent },
    }
}
