//! The queue of one partition, and the task that sends it: one batch in flight, which is retried until it is
//! acknowledged or out of time.
//!
//! The task alone answers the callers, also at their deadlines. So no caller is told that a record is not written and then
//! has it sent a moment later, and a call has no timer of its own.

mod numbering;
mod reporting;

use std::{
    collections::VecDeque,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Producer,
    accumulator::BatchAccumulator,
    batch::{PendingRecord, ProducerBatch},
    broker_sink::BrokerSinks,
    failure::{Failure, Remedy, lasting, refusal},
    producer_ids::ProducerIds,
    sequences::Sequences,
    writer::Writer,
};
use crate::{
    Cluster, PublishError, StatusRegistry,
    backoff::Backoff,
    breaker::{Breaker, Gate},
    counts::ProducerCounts,
    wire::WireError,
};

/// The time between looks at the deadlines, while a call is in flight.
const TICK: Duration = Duration::from_millis(20);

/// Sends the records of one partition, in order.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    registry: Arc<StatusRegistry>,
    /// Its name in the registry.
    component: String,
    sinks: Arc<BrokerSinks>,
    accumulator: BatchAccumulator,
    /// `None` without idempotence.
    ids: Option<Arc<ProducerIds>>,
    sequences: Sequences,
    /// The last error and the backoff, while attempts fail.
    retrying: Option<Retrying>,
    /// The last attempt was refused for a reason that lasts. Only another attempt finds out that it is over.
    refused: bool,
    /// Whether the status is ready only while Kafka takes its records.
    required_for_readiness: bool,
    counts: Arc<ProducerCounts>,
    gate: Arc<Gate>,
    /// The breaker of the leader, once the leader is known.
    breaker: Option<Arc<Breaker>>,
    breaker_after: Duration,
    /// The beginning of the call in flight, or of the last one.
    called: Instant,
}

#[derive(Debug)]
struct Retrying {
    error: String,
    backoff: Backoff,
}

/// The end of an attempt without a failure.
#[derive(Debug)]
enum Attempted {
    /// The broker has the batch: the first record is at that offset, if that is known.
    Written(Option<i64>),
    /// It was not sent, as no caller waits any more.
    Unawaited,
}

/// The step that the batch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// It waits for its next attempt.
    Attempt,
    /// It waits for a connection to the leader.
    Connection,
    /// It is in flight, and waits for the response.
    Response,
}

impl PartitionQueue {
    /// The queue of that partition, behind that gate.
    pub(super) fn new(
        producer: &Producer,
        partition: i32,
        ids: Option<Arc<ProducerIds>>,
        gate: Arc<Gate>,
        receiver: mpsc::UnboundedReceiver<PendingRecord>,
    ) -> Self {
        let topic = Arc::clone(producer.topic.name());
        Self {
            cluster: Arc::clone(&producer.cluster),
            partition,
            registry: Arc::clone(&producer.registry),
            component: format!("writing to {topic}/{partition}"),
            topic,
            sinks: Arc::clone(&producer.sinks),
            accumulator: BatchAccumulator::new(receiver, producer.config.batch_max_bytes),
            ids,
            sequences: Sequences::default(),
            retrying: None,
            refused: false,
            required_for_readiness: producer.required_for_readiness,
            counts: Arc::clone(&producer.counts),
            gate,
            breaker: None,
            breaker_after: producer.config.breaker_after,
            called: Instant::now(),
        }
    }

    /// Runs until all senders are gone and all their records are answered.
    pub(super) async fn run(mut self) {
        let mut writer = Writer::new(
            Arc::clone(&self.cluster),
            Arc::clone(&self.topic),
            self.partition,
            Arc::clone(&self.sinks),
        );
        loop {
            self.gate.probe_again();
            // Without a record to send, only a look of its own finds out that the leader is back.
            let wait = self.retrying.as_mut().map(|retrying| retrying.backoff.next_wait());
            let gate = Arc::clone(&self.gate);
            let ready = tokio::select! {
                biased;
                ready = self.accumulator.ready() => ready,
                () = gate.shuts(), if wait.is_none() => {
                    // Perhaps another queue's failure has shut it. No record comes in that would find out the end.
                    if gate.is_shut() {
                        let error = "its broker takes no events".to_owned();
                        self.retrying = Some(Retrying { error, backoff: Backoff::new() });
                    }
                    continue;
                }
                (leader, found) = probe(&mut writer, wait.unwrap_or_default()), if wait.is_some() => {
                    if let Some((host, port)) = leader {
                        self.set_leader(Cluster::address(&host, port));
                    }
                    self.probed(found);
                    continue;
                }
            };
            if !ready {
                break;
            }
            if let Some(until) = writer.paused_until() {
                self.wait_out(&mut writer, until).await;
                // The records may be out of time, or the leader another.
                continue;
            }
            let batch = self.accumulator.drain();
            self.deliver(&mut writer, batch).await;
        }
        self.cluster.breakers().unlink(&self.gate, &self.registry);
        self.registry.withdraw(&self.component);
    }

    /// Waits while the leader throttles; the next batch accumulates. Returns early if no record waits any more, or if
    /// another broker leads the partition: a quota is of one broker.
    async fn wait_out(&mut self, writer: &mut Writer, until: Instant) {
        self.counts.throttled.add(1);
        let moved = {
            let mut moved = pin!(writer.moved());
            loop {
                tokio::select! {
                    biased;
                    () = &mut moved => break true,
                    () = sleep_until(until.min(Instant::now() + TICK)) => {
                        self.accumulator.expire(Instant::now(), "Kafka throttles this client by a quota");
                        if self.accumulator.is_empty() || until <= Instant::now() {
                            break false;
                        }
                    }
                }
            }
        };
        if moved {
            writer.close();
        }
    }

    /// Sends a batch, in halves if Kafka finds it too large, and answers each caller.
    async fn deliver(&mut self, writer: &mut Writer, batch: ProducerBatch) {
        let mut parts = VecDeque::from([batch]);
        let mut whole = true;
        while let Some(mut batch) = parts.pop_front() {
            let failure = match self.attempt(writer, &mut batch, whole).await {
                Ok(Attempted::Unawaited) => continue,
                Ok(Attempted::Written(first)) => {
                    self.sequences.acknowledged(&batch);
                    self.tell_breaker(|breaker| breaker.answered());
                    self.counts.batches.add(1);
                    self.refused = false;
                    self.recovered();
                    if self.required_for_readiness {
                        self.registry.accepted(&self.topic, self.partition);
                    }
                    writer.share();
                    batch.acknowledge(self.partition, first);
                    continue;
                }
                Err(failure) => failure,
            };
            let error = &failure.error;
            self.report_failure(&failure);
            match self.remedy(&failure, &mut batch).await {
                Remedy::Split | Remedy::RefuseRecord if batch.len() > 1 => {
                    whole = false;
                    let (first, second) = batch.split();
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Remedy::Split => batch.refuse(&PublishError::TooLarge(error.to_string())),
                Remedy::RefuseRecord => batch.refuse(&PublishError::Refused(error.to_string())),
                Remedy::RefuseAll => {
                    let text = lasting(&self.topic, error).unwrap_or_else(|| error.to_string());
                    self.refused(&text, true);
                    batch.refuse(&PublishError::Forbidden(text));
                    // A look at the leader would find nothing wrong. The next record finds out.
                    self.retrying = None;
                }
                Remedy::RefuseBatch => {
                    self.failed(error);
                    let reason = error.to_string();
                    batch.refuse(&PublishError::Unavailable { reason, possibly_written: true });
                }
                again @ (Remedy::TryAgain { .. } | Remedy::Renumber | Remedy::GoWithout) => {
                    let unanswered = matches!(again, Remedy::TryAgain { unanswered: true });
                    if unanswered {
                        batch.mark_unanswered();
                    }
                    self.counts.retries.add(1);
                    match refusal(error) {
                        Some(_) => writer.close(),
                        None => writer.abandon(),
                    }
                    let wait = self.failed(error);
                    if self.cluster.is_unreachable() {
                        let away =
                            PublishError::Unavailable { reason: self.reason(), possibly_written: false };
                        batch.refuse(&away);
                        self.accumulator.refuse(&away);
                        continue;
                    }
                    // Ends early once no broker can be reached: the next attempt fails with that.
                    let cluster = Arc::clone(&self.cluster);
                    let turn = timeout(wait, async move { cluster.until_unreachable().await }).map(drop);
                    self.while_expiring(&mut batch, Wait::Attempt, turn).await;
                    parts.push_front(batch);
                }
            }
        }
    }

    /// One attempt. A `whole` batch, not a part of one, is topped up with newer records, unless it was sent with numbers.
    async fn attempt(
        &mut self,
        writer: &mut Writer,
        batch: &mut ProducerBatch,
        whole: bool,
    ) -> Result<Attempted, Failure> {
        let unsent = |error| Failure { error: Arc::new(error), sent: false };
        if !self.identify(batch).await.map_err(unsent)? {
            return Ok(Attempted::Unawaited);
        }
        let slot = loop {
            if !writer.is_open() {
                let Some(timeout_left) = self.timeout_left(batch) else { return Ok(Attempted::Unawaited) };
                self.called = Instant::now();
                let asking = within("Metadata", timeout_left, writer.leader());
                let leader = self.while_expiring(batch, Wait::Attempt, asking).await.map_err(unsent)?;
                self.set_leader(Cluster::address(&leader.0, leader.1));
                let Some(timeout_left) = self.timeout_left(batch) else { return Ok(Attempted::Unawaited) };
                self.called = Instant::now();
                let alone = self.retrying.is_some();
                let connecting = within("ApiVersions", timeout_left, writer.connect(&leader, alone));
                self.while_expiring(batch, Wait::Connection, connecting).await.map_err(unsent)?;
                // Otherwise the time without a connection would count against the next call.
                self.tell_breaker(Breaker::connected);
            }
            self.called = Instant::now();
            let reserving = writer.slot();
            if let Some(slot) = self.while_expiring(batch, Wait::Attempt, reserving).await.map_err(unsent)? {
                break slot;
            }
        };
        if whole && batch.sequence.is_none() {
            self.accumulator.top_up(batch);
        }
        let Some(timeout_left) = self.timeout_left(batch) else { return Ok(Attempted::Unawaited) };
        self.sequences.number(batch);
        self.called = Instant::now();
        let sending =
            timeout(timeout_left, slot.submit(self.partition, batch.encoded(), batch.len(), timeout_left));
        let written = self
            .while_expiring(batch, Wait::Response, sending)
            .await
            .unwrap_or_else(|_| Err(Arc::new(WireError::TimedOut { what: "Produce", after: timeout_left })));
        match written {
            Ok(first) => Ok(Attempted::Written(Some(first))),
            Err(error) if numbering::has_it_already(&error, batch) => Ok(Attempted::Written(None)),
            Err(error) => Err(Failure { error, sent: true }),
        }
    }

    /// The timeout of the next call: the latest deadline of the batch, and no more than the request timeout. Drops the
    /// records whose callers wait no more; `None` if there is no other.
    fn timeout_left(&self, batch: &mut ProducerBatch) -> Option<Duration> {
        let now = Instant::now();
        batch.expire(now, false, &self.reason());
        batch.drop_unawaited();
        Some(batch.deadline()?.saturating_duration_since(now).min(self.cluster.request_timeout()))
    }

    /// Waits for a future, and answers the callers whose deadline passes meanwhile, in the batch and behind it.
    async fn while_expiring<T: Send>(
        &mut self,
        batch: &mut ProducerBatch,
        wait: Wait,
        something: impl Future<Output = T> + Send,
    ) -> T {
        let mut done = None;
        self.until(batch, wait, pin!(something.map(|result| done = Some(result)))).await;
        match done {
            Some(result) => result,
            None => unreachable!("it was waited for"),
        }
    }

    /// As [`PartitionQueue::while_expiring`], for a future of no type, so that it is compiled once.
    async fn until(
        &mut self,
        batch: &mut ProducerBatch,
        wait: Wait,
        mut something: Pin<&mut (dyn Future<Output = ()> + Send)>,
    ) {
        while timeout(TICK, &mut something).await.is_err() {
            let (now, reason) = (Instant::now(), self.reason());
            batch.expire(now, wait == Wait::Response, &reason);
            self.accumulator.expire(now, &reason);
            if wait != Wait::Attempt {
                let (called, after) = (self.called, self.breaker_after);
                self.tell_breaker(|breaker| breaker.waited(called, after));
            }
            if self.gate.is_shut() {
                self.accumulator.refuse(&self.gate.refusal());
            }
        }
    }
}

/// After a wait, looks up the leader and connects to it, with nothing to send.
async fn probe(writer: &mut Writer, wait: Duration) -> (Option<(String, i32)>, Result<(), WireError>) {
    sleep(wait).await;
    match writer.leader().await {
        Ok(leader) => {
            let found = writer.connect(&leader, true).await;
            (Some(leader), found)
        }
        Err(error) => (None, Err(error)),
    }
}

/// Gives a call a timeout.
async fn within<T>(
    what: &'static str,
    timeout_left: Duration,
    call: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    timeout(timeout_left, call).await.unwrap_or(Err(WireError::TimedOut { what, after: timeout_left }))
}
