//! One partition's way to Kafka: a batch in flight at a time, tried until acknowledged or out of time.
//!
//! The queue alone answers the callers, also those whose time is up: so nobody hears "not written" of a record
//! that is sent a moment later, and a request costs no timer of its own.

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
    batch::{Batch, BatchAccumulator, PendingRecord},
    breaker::{Breaker, Gate},
    broker_sink::BrokerSinks,
    failure::{Failure, Remedy, lasting, refusal, remedy},
    writer::Writer,
};
use crate::{
    Cluster, PublishError, StatusRegistry, backoff::Backoff, counts::ProducerCounts, wire::WireError,
};

/// How often a call that lasts is left, to answer those whose time is up.
const TICK: Duration = Duration::from_millis(20);

/// Sends the batches of one partition, in order.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    registry: Arc<StatusRegistry>,
    /// The component of the registry that is this queue's.
    component: String,
    sinks: Arc<BrokerSinks>,
    accumulator: BatchAccumulator,
    /// While the last attempt failed: what Kafka said, and when to try next.
    trouble: Option<Trouble>,
    /// The last attempt was refused for what lasts: only another can find that it is over.
    refused: bool,
    /// Whether the service is to be ready only while this takes records.
    required_for_readiness: bool,
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

impl PartitionQueue {
    /// The queue of one partition, behind that gate.
    pub(super) fn new(
        producer: &Producer,
        partition: i32,
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
            trouble: None,
            refused: false,
            required_for_readiness: producer.required_for_readiness,
            counts: Arc::clone(&producer.counts),
            gate,
            breaker: None,
            breaker_after: producer.config.breaker_after,
            called: Instant::now(),
        }
    }

    /// Until all senders are gone and what they sent is answered.
    pub(super) async fn run(mut self) {
        let mut writer = Writer::new(
            Arc::clone(&self.cluster),
            Arc::clone(&self.topic),
            self.partition,
            Arc::clone(&self.sinks),
        );
        loop {
            self.gate.probe_again();
            // Without an event to send, only a look of its own can find that the trouble has passed.
            let wait = self.trouble.as_mut().map(|trouble| trouble.backoff.next_wait());
            let gate = Arc::clone(&self.gate);
            let ready = tokio::select! {
                biased;
                ready = self.accumulator.ready() => ready,
                () = gate.shuts(), if wait.is_none() => {
                    // By another queue's trouble, maybe. Nothing is let in that would find out when it is over.
                    if gate.is_shut() {
                        let error = "its broker takes no events".to_owned();
                        self.trouble = Some(Trouble { error, backoff: Backoff::new() });
                    }
                    continue;
                }
                (leader, found) = look(&mut writer, wait.unwrap_or_default()), if wait.is_some() => {
                    if let Some((host, port)) = leader {
                        self.leads(Cluster::address(&host, port));
                    }
                    self.found(found);
                    continue;
                }
            };
            if !ready {
                break;
            }
            if let Some(until) = writer.paused_until() {
                self.wait_out(&mut writer, until).await;
                // What waited may be out of time, or the way to another broker.
                continue;
            }
            let batch = self.accumulator.gather();
            self.deliver(&mut writer, batch).await;
        }
        self.cluster.breakers().unlink(&self.gate, &self.registry);
        self.registry.withdraw(&self.component);
    }

    /// Waits while the leader throttles; what comes meanwhile goes in one batch then. Ends early when nothing
    /// waits any more, or another broker leads the partition, which has a quota of its own.
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

    /// Sends a batch, in halves where Kafka finds it too large, and answers each of its callers.
    async fn deliver(&mut self, writer: &mut Writer, batch: Batch) {
        let mut parts = VecDeque::from([batch]);
        let mut whole = true;
        while let Some(mut batch) = parts.pop_front() {
            let failure = match self.attempt(writer, &mut batch, whole).await {
                Ok(None) => continue,
                Ok(Some(first)) => {
                    self.note(|breaker| breaker.answered());
                    self.counts.batches.add(1);
                    self.refused = false;
                    self.recovered();
                    if self.required_for_readiness {
                        self.registry.takes(&self.topic, self.partition);
                    }
                    writer.share();
                    batch.acknowledge(self.partition, first);
                    continue;
                }
                Err(failure) => failure,
            };
            let error = &failure.error;
            self.judge(&failure);
            match remedy(&failure, batch.is_of_now()) {
                Remedy::Split | Remedy::GiveUp if batch.len() > 1 => {
                    whole = false;
                    let (first, second) = batch.split();
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Remedy::Split => batch.refuse(&PublishError::TooLarge(error.to_string())),
                Remedy::GiveUp => batch.refuse(&PublishError::Refused(error.to_string())),
                Remedy::RefuseAll => {
                    let told = lasting(&self.topic, error).unwrap_or_else(|| error.to_string());
                    self.refused(&told, true);
                    batch.refuse(&PublishError::Forbidden(told));
                    // A look would find nothing wrong; the next event will tell.
                    self.trouble = None;
                }
                Remedy::TryAgain { unanswered } => {
                    if unanswered {
                        batch.mark_unanswered();
                    }
                    self.counts.retries.add(1);
                    match refusal(error) {
                        Some(_) => writer.close(),
                        None => writer.give_up(),
                    }
                    let wait = self.failed(error);
                    if self.cluster.is_unreachable() {
                        let away =
                            PublishError::Unavailable { reason: self.reason(), possibly_written: false };
                        batch.refuse(&away);
                        self.accumulator.refuse(&away);
                        continue;
                    }
                    // The first try after it is certain that nothing is there has that for its answer.
                    let cluster = Arc::clone(&self.cluster);
                    let turn = timeout(wait, async move { cluster.until_unreachable().await }).map(drop);
                    self.while_expiring(&mut batch, Wait::Turn, turn).await;
                    parts.push_front(batch);
                }
            }
        }
    }

    /// One try; the offset of the batch's first record. Nothing is sent when nobody waits any more. What came
    /// meanwhile goes along, unless the batch is component of one.
    async fn attempt(
        &mut self,
        writer: &mut Writer,
        batch: &mut Batch,
        whole: bool,
    ) -> Result<Option<i64>, Failure> {
        let unsent = |error| Failure { error: Arc::new(error), sent: false };
        let slot = loop {
            if !writer.is_open() {
                let Some(patience) = self.patience(batch) else { return Ok(None) };
                self.called = Instant::now();
                let asking = in_time("Metadata", patience, writer.leader());
                let leader = self.while_expiring(batch, Wait::Turn, asking).await.map_err(unsent)?;
                self.leads(Cluster::address(&leader.0, leader.1));
                let Some(patience) = self.patience(batch) else { return Ok(None) };
                self.called = Instant::now();
                let alone = self.trouble.is_some();
                let connecting = in_time("ApiVersions", patience, writer.connect(&leader, alone));
                self.while_expiring(batch, Wait::Way, connecting).await.map_err(unsent)?;
                // Else the time for which it could not be reached would count against the call that comes now.
                self.note(Breaker::connected);
            }
            self.called = Instant::now();
            let reserving = writer.slot();
            if let Some(slot) = self.while_expiring(batch, Wait::Turn, reserving).await.map_err(unsent)? {
                break slot;
            }
        };
        if whole {
            self.accumulator.top_up(batch);
        }
        let Some(patience) = self.patience(batch) else { return Ok(None) };
        self.called = Instant::now();
        let sending = timeout(patience, slot.submit(self.partition, batch.encoded(), batch.len(), patience));
        let written = self
            .while_expiring(batch, Wait::Answer, sending)
            .await
            .unwrap_or_else(|_| Err(Arc::new(WireError::TimedOut { what: "Produce", after: patience })));
        written.map(Some).map_err(|error| Failure { error, sent: true })
    }

    /// How long a call for those may take of whom somebody still waits; drops the others.
    fn patience(&self, batch: &mut Batch) -> Option<Duration> {
        let now = Instant::now();
        batch.expire(now, false, &self.reason());
        batch.drop_unawaited();
        Some(batch.deadline()?.saturating_duration_since(now).min(self.cluster.request_timeout()))
    }

    /// Waits for something, and answers those whose time comes meanwhile, in the batch and behind it.
    async fn while_expiring<T: Send>(
        &mut self,
        batch: &mut Batch,
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

    /// Waits for something, whichever: so what is done meanwhile is compiled once.
    async fn until(
        &mut self,
        batch: &mut Batch,
        wait: Wait,
        mut something: Pin<&mut (dyn Future<Output = ()> + Send)>,
    ) {
        while timeout(TICK, &mut something).await.is_err() {
            let (now, reason) = (Instant::now(), self.reason());
            batch.expire(now, wait == Wait::Answer, &reason);
            self.accumulator.expire(now, &reason);
            if wait != Wait::Turn {
                let (called, after) = (self.called, self.breaker_after);
                self.note(|breaker| breaker.waited(called, after));
            }
            if self.gate.is_shut() {
                self.accumulator.refuse(&self.gate.refusal());
            }
        }
    }
}

/// After a wait, tries the way to the leader with nothing to send; tells who that is, and how it went.
async fn look(writer: &mut Writer, wait: Duration) -> (Option<(String, i32)>, Result<(), WireError>) {
    sleep(wait).await;
    match writer.leader().await {
        Ok(leader) => {
            let found = writer.connect(&leader, true).await;
            (Some(leader), found)
        }
        Err(error) => (None, Err(error)),
    }
}

async fn in_time<T>(
    what: &'static str,
    patience: Duration,
    call: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    timeout(patience, call).await.unwrap_or(Err(WireError::TimedOut { what, after: patience }))
}
