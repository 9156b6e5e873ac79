//! One partition's way to Kafka: a batch in flight at a time, tried until acknowledged or out of time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rskafka::client::{
    error::ProtocolError,
    partition::{Compression, PartitionClient},
};
use tokio::{sync::mpsc, time::Instant};

use super::batch::{Gatherer, Pending};
use crate::messaging::{
    Board, Cluster, PublishError, Receipt,
    backoff::Backoff,
    cluster::{CallError, within},
};

/// Sends the batches of one partition, in order.
#[derive(Debug)]
pub(super) struct Lane {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    partition: i32,
    most_bytes: usize,
    board: Arc<Board>,
    /// The part of the board that is this lane's.
    part: String,
    client: Option<PartitionClient>,
    /// The last attempt did not reach Kafka, or not the partition's leader.
    lost: bool,
}

/// What to do after a batch was not acknowledged.
enum Remedy {
    /// Kafka takes smaller batches only.
    Split,
    /// Kafka will never take these records.
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
        most_bytes: usize,
        board: Arc<Board>,
    ) -> Self {
        let part = format!("writing to {topic}/{partition}");
        Self { cluster, topic, partition, most_bytes, board, part, client: None, lost: false }
    }

    /// Until all senders are gone and what they sent is answered.
    pub(super) async fn run(mut self, receiver: mpsc::UnboundedReceiver<Pending>) {
        let mut gatherer = Gatherer::new(receiver, self.most_bytes);
        while let Some(batch) = gatherer.next().await {
            self.deliver(batch).await;
            if self.lost {
                tokio::select! {
                    biased;
                    () = gatherer.arrived() => {}
                    () = self.find_again() => {}
                }
            }
        }
        self.board.withdraw(&self.part);
    }

    /// Looks for the partition's leader until it is there. Without that, nobody would: a service that is not
    /// ready is sent nothing, and so would not be ready for as long as it is sent nothing.
    async fn find_again(&mut self) {
        let mut backoff = Backoff::new();
        while self.lost {
            backoff.wait().await;
            let patience = self.cluster.request_timeout();
            match connect(&self.cluster, &self.topic, self.partition, patience).await {
                Ok(client) => {
                    self.client = Some(client);
                    self.found();
                }
                Err(error) => self.board.failed(&self.part, &error),
            }
        }
    }

    fn found(&mut self) {
        self.lost = false;
        self.board.succeeded(&self.part);
    }

    /// Sends a batch, in halves where Kafka finds it too large, and answers each of its callers.
    async fn deliver(&mut self, batch: VecDeque<Pending>) {
        let mut parts = VecDeque::from([batch]);
        let mut backoff = Backoff::new();
        while let Some(mut batch) = parts.pop_front() {
            batch = without_those_out_of_time(batch);
            if batch.is_empty() {
                continue;
            }
            let error = match self.attempt(&batch).await {
                Ok(offsets) => {
                    self.found();
                    for (pending, offset) in batch.into_iter().zip(offsets) {
                        pending.answer(Ok(Receipt { partition: self.partition, offset }));
                    }
                    continue;
                }
                Err(error) => error,
            };
            match remedy(&error) {
                Remedy::Split if batch.len() > 1 => {
                    batch.iter().for_each(Pending::mark_refused);
                    let second = batch.split_off(batch.len() / 2);
                    parts.push_front(second);
                    parts.push_front(batch);
                }
                Remedy::Split => answer_all(batch, &PublishError::TooLarge(error.to_string())),
                Remedy::GiveUp => answer_all(batch, &PublishError::Refused(error.to_string())),
                Remedy::AskForRights => {
                    self.board.failed(&self.part, &error);
                    answer_all(batch, &PublishError::Refused(error.to_string()));
                }
                Remedy::TryAgain { unanswered } => {
                    if unanswered {
                        batch.iter_mut().for_each(Pending::mark_unanswered);
                    } else {
                        batch.iter().for_each(Pending::mark_refused);
                    }
                    self.board.failed(&self.part, &error);
                    self.lost = true;
                    self.client = None;
                    self.cluster.discard();
                    parts.push_front(batch);
                    backoff.wait().await;
                }
            }
        }
    }

    async fn attempt(&mut self, batch: &VecDeque<Pending>) -> Result<Vec<i64>, CallError> {
        let deadline = batch.iter().map(|pending| pending.deadline).max().unwrap_or_else(Instant::now);
        let patience = deadline.saturating_duration_since(Instant::now()).min(self.cluster.request_timeout());
        let client = match self.client.take() {
            Some(client) => client,
            None => connect(&self.cluster, &self.topic, self.partition, patience).await?,
        };
        let client = self.client.insert(client);
        batch.iter().for_each(Pending::mark_sent);
        let records = batch.iter().map(|pending| pending.record.clone()).collect();
        within(patience, client.produce(records, Compression::NoCompression)).await
    }
}

async fn connect(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    patience: Duration,
) -> Result<PartitionClient, CallError> {
    tokio::time::timeout(patience, cluster.partition(topic, partition))
        .await
        .unwrap_or(Err(CallError::TimedOut(patience)))
}

fn remedy(error: &CallError) -> Remedy {
    use ProtocolError as Kafka;
    let Some(code) = error.protocol() else {
        return Remedy::TryAgain { unanswered: true };
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
        // The leader had appended it when it found too few replicas, or stopped waiting for them.
        Kafka::NotEnoughReplicasAfterAppend | Kafka::RequestTimedOut => Remedy::TryAgain { unanswered: true },
        _ => Remedy::TryAgain { unanswered: false },
    }
}

/// Callers whose time is up have been told by their own clock; what nobody waits for is not sent again.
fn without_those_out_of_time(batch: VecDeque<Pending>) -> VecDeque<Pending> {
    let (over, waiting): (VecDeque<_>, VecDeque<_>) = batch.into_iter().partition(Pending::is_over);
    for pending in over {
        let possibly_written = pending.possibly_written();
        let reason = "its time was up before Kafka acknowledged it".to_owned();
        pending.answer(Err(PublishError::Unavailable { reason, possibly_written }));
    }
    waiting
}

fn answer_all(batch: VecDeque<Pending>, error: &PublishError) {
    for pending in batch {
        pending.answer(Err(error.clone()));
    }
}
