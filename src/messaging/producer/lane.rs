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

use super::batch::{Batch, Gatherer, Pending};
use crate::messaging::{
    Board, Cluster, PublishError,
    backoff::Backoff,
    cluster::{CallError, within},
    counts::ProducerCounts,
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
    pub(super) fn new(
        cluster: Arc<Cluster>,
        topic: Arc<str>,
        partition: i32,
        board: Arc<Board>,
        receiver: mpsc::UnboundedReceiver<Pending>,
        most_bytes: usize,
        counts: Arc<ProducerCounts>,
    ) -> Self {
        let part = format!("writing to {topic}/{partition}");
        let queue = Gatherer::new(receiver, most_bytes);
        Self { cluster, topic, partition, board, part, queue, client: None, trouble: None, counts }
    }

    /// Until all senders are gone and what they sent is answered.
    pub(super) async fn run(mut self) {
        loop {
            // Without an event to send, only a look of its own can find that the trouble has passed.
            let wait = self.trouble.as_mut().map(|trouble| trouble.backoff.next_wait());
            let ready = tokio::select! {
                biased;
                ready = self.queue.ready() => ready,
                found = look(&self.cluster, &self.topic, self.partition, wait.unwrap_or_default()), if wait.is_some() => {
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
        self.board.withdraw(&self.part);
    }

    /// Sends a batch, in halves where Kafka finds it too large, and answers each of its callers.
    async fn deliver(&mut self, batch: Batch) {
        let mut parts = VecDeque::from([batch]);
        while let Some(mut batch) = parts.pop_front() {
            let failure = match self.attempt(&mut batch).await {
                Ok(offsets) => {
                    if !offsets.is_empty() {
                        self.counts.batches.add(1);
                        self.recovered();
                    }
                    batch.acknowledge(self.partition, offsets);
                    continue;
                }
                Err(failure) => failure,
            };
            let error = &failure.error;
            match remedy(&failure) {
                Remedy::Split | Remedy::GiveUp if batch.len() > 1 => {
                    let (first, second) = batch.split();
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Remedy::Split => batch.refuse(&PublishError::TooLarge(error.to_string())),
                Remedy::GiveUp => batch.refuse(&PublishError::Refused(error.to_string())),
                Remedy::AskForRights => {
                    self.board.failed(&self.part, error);
                    batch.refuse(&PublishError::Refused(error.to_string()));
                    // A look would find nothing wrong; the next event will tell.
                    self.trouble = None;
                }
                Remedy::TryAgain { unanswered } => {
                    if unanswered {
                        batch.mark_unanswered();
                    }
                    self.counts.retries.add(1);
                    let wait = self.failed(error);
                    self.while_expiring(&mut batch, false, sleep(wait)).await;
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
            let opening = timeout(patience, cluster.partition(&topic, self.partition));
            let opened = self.while_expiring(batch, false, opening).await;
            let opened = opened.unwrap_or(Err(CallError::TimedOut(patience)));
            self.client = Some(opened.map_err(|error| Failure { error, sent: false })?);
        }
        let Some(patience) = self.patience(batch) else { return Ok(Vec::new()) };
        let Some(client) = self.client.take() else { return Ok(Vec::new()) };
        let call = within(patience, client.produce(batch.records(), Compression::NoCompression));
        let written = self.while_expiring(batch, true, call).await;
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
        in_flight: bool,
        something: impl Future<Output = T>,
    ) -> T {
        let mut something = pin!(something);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return done,
                () = sleep(TICK) => {
                    let (now, reason) = (Instant::now(), self.reason());
                    batch.expire(now, in_flight, &reason);
                    self.queue.expire(now, &reason);
                }
            }
        }
    }

    fn found(&mut self, found: Result<PartitionClient, CallError>) {
        match found {
            Ok(client) => {
                self.client = Some(client);
                self.recovered();
            }
            Err(error) => self.board.failed(&self.part, &error),
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

/// After a wait, tries the way to the leader with nothing to send.
async fn look(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    wait: Duration,
) -> Result<PartitionClient, CallError> {
    sleep(wait).await;
    cluster.partition(topic, partition).await
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
