//! The failure of an attempt: its subject, and the remedy.
//!
//! | About | Error | Action |
//! |---|---|---|
//! | a record | too large, invalid, a timestamp of its own that is out of range | that record alone is refused |
//! | its numbers | out of order, an old epoch, an unknown producer | retries in a new epoch; `possibly_written` after a doubtful attempt |
//! | the partition | no leader, no response, too few in-sync replicas | retries until the deadline |
//! | the topic | no right to write to it, an internal topic, a message format that is too old | all records are refused until one is taken again |
//! | this instance | no right to the cluster, a clock that is off | likewise |
//! | the broker | any other error that is not retriable, or unknown | the batch is refused, and may have been written |
//!
//! An error is retriable where its exception in Java is a `RetriableException`, by which Java's `Sender` decides too.
//!
//! Too few in-sync replicas, missing rights and a clock that is off last until somebody acts. A topic that answers with
//! nothing else makes the status not ready.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use kafka_protocol::ResponseError;

use super::batch::ProducerBatch;
use crate::wire::WireError;

/// An attempt without an acknowledgement.
pub(super) struct Failure {
    pub(super) error: Arc<WireError>,
    /// Whether the batch was sent.
    pub(super) sent: bool,
}

/// The next step after a batch was not acknowledged.
pub(super) enum Remedy {
    /// Split it: Kafka takes smaller batches only.
    Split,
    /// Refuse the record that Kafka does not take; a batch is split to find it.
    RefuseRecord,
    /// Refuse all records: Kafka takes none from this client until somebody acts.
    RefuseAll,
    /// Refuse the batch, which may have been written: the broker failed and says that a retry does not help, or a retry
    /// could write it twice.
    RefuseBatch,
    /// Retry. After no response the batch may have been written all the same.
    TryAgain { unanswered: bool },
    /// Retry with other numbers, in a new epoch, if the batch is surely not in the log.
    Renumber,
    /// Retry without a producer id, if the batch is surely not in the log: the cluster allows none.
    GoWithout,
}

/// The subject of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The size of the batch.
    TooLarge,
    /// The content of a record.
    Invalid,
    /// A record's timestamp; this machine's clock, if the timestamp is current.
    Time,
    /// The topic, or the rights to it or to the cluster.
    Topic,
    /// The numbers of the batch, or its producer's epoch.
    Sequence,
    /// The broker, which fails for good.
    Broker,
    /// The partition, and the broker had not begun to append.
    NotBegun,
    /// The partition, and the records may have been appended before.
    Transient,
}

/// The refusal behind an error; `None` if the broker did not answer.
pub(super) fn refusal(error: &WireError) -> Option<Refusal> {
    use ResponseError as E;
    Some(match error.code()? {
        E::MessageTooLarge | E::RecordListTooLarge => Refusal::TooLarge,
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::InvalidTopicException
        | E::InvalidRequiredAcks
        | E::UnsupportedForMessageFormat => Refusal::Topic,
        E::InvalidTimestamp => Refusal::Time,
        E::InvalidRecord => Refusal::Invalid,
        E::OutOfOrderSequenceNumber
        | E::DuplicateSequenceNumber
        | E::UnknownProducerId
        | E::InvalidProducerEpoch
        | E::InvalidProducerIdMapping
        | E::ProducerFenced => Refusal::Sequence,
        E::LeaderNotAvailable | E::NotEnoughReplicas | E::ThrottlingQuotaExceeded => Refusal::NotBegun,
        // Apache Kafka does not answer a Produce so, but Azure Event Hubs does when it throttles beyond the request's
        // timeout.
        E::PolicyViolation => Refusal::Transient,
        // Too few replicas after the append, or the leader changed meanwhile (`DelayedProduce`).
        code if code.is_retriable() => Refusal::Transient,
        _ => Refusal::Broker,
    })
}

/// The next step after that failure of a batch.
pub(super) fn remedy(failure: &Failure, batch: &ProducerBatch) -> Remedy {
    let of_now = batch.is_of_now();
    match refusal(&failure.error) {
        Some(Refusal::Sequence) => Remedy::Renumber,
        Some(_) if failure.sent && batch.sequence.is_some() && denies_idempotence(&failure.error) => {
            Remedy::GoWithout
        }
        Some(Refusal::TooLarge) => Remedy::Split,
        Some(Refusal::Topic) => Remedy::RefuseAll,
        // An error of the lookup of the leader passes: another broker is asked next.
        Some(Refusal::Broker) if failure.sent => Remedy::RefuseBatch,
        Some(Refusal::Time) if of_now => Remedy::RefuseAll,
        Some(Refusal::Invalid | Refusal::Time) => Remedy::RefuseRecord,
        Some(Refusal::NotBegun) => Remedy::TryAgain { unanswered: false },
        Some(Refusal::Transient | Refusal::Broker) | None => Remedy::TryAgain { unanswered: failure.sent },
    }
}

/// Whether the refusal is about the producer id: the right to have one is missing (IDEMPOTENT_WRITE, before Kafka 2.8), or
/// the topic's format is older than producer ids.
fn denies_idempotence(error: &WireError) -> bool {
    use ResponseError as E;
    matches!(error.code(), Some(E::ClusterAuthorizationFailed | E::UnsupportedForMessageFormat))
}

/// Whether no producer with that id and epoch may write to the partition any more.
pub(super) fn ends_producer_id(error: &WireError) -> bool {
    use ResponseError as E;
    matches!(error.code(), Some(E::InvalidProducerEpoch | E::InvalidProducerIdMapping | E::ProducerFenced))
}

/// The distance from this machine's clock within which a timestamp is current.
const NOW: TimeDelta = TimeDelta::minutes(1);

/// Whether a timestamp is current: if Kafka refuses it, the clock is wrong.
pub(super) fn is_of_now(timestamp_millis: i64) -> bool {
    (Utc::now().timestamp_millis() - timestamp_millis).abs() <= NOW.num_milliseconds()
}

/// The text of an error that lasts until somebody acts; `None` for any other error. The text stays the same meanwhile,
/// so that it is logged once.
pub(super) fn lasting(topic: &str, error: &WireError) -> Option<String> {
    use ResponseError as E;
    Some(match error.code()? {
        E::TopicAuthorizationFailed => format!("no right to write to topic {topic} (ACL WRITE): {error}"),
        E::ClusterAuthorizationFailed => format!("no right to write to topic {topic}: {error}"),
        E::InvalidTopicException | E::InvalidRequiredAcks | E::UnsupportedForMessageFormat => {
            format!("topic {topic} takes no records: {error}")
        }
        E::InvalidTimestamp => clock(error),
        E::NotEnoughReplicas | E::NotEnoughReplicasAfterAppend => format!(
            "fewer replicas of topic {topic} are in sync than its min.insync.replicas asks for (bring brokers back, or \
             lower it): {error}"
        ),
        _ => return None,
    })
}

/// The error of this machine's clock. Kafka names the timestamps that it would have taken (`LogValidator`): up to its own
/// clock plus `message.timestamp.after.max.ms`.
fn clock(error: &WireError) -> String {
    const ADVICE: &str = "set the clocks";
    let taken = match error {
        WireError::Denied { said, .. } => range(said),
        _ => None,
    };
    let now = Utc::now().timestamp_millis();
    match taken {
        Some((_, last)) if now > last => {
            format!(
                "this machine's clock is at least {} ahead of the broker's: {ADVICE}",
                minutes(now - last)
            )
        }
        Some((first, _)) if now < first => {
            format!("this machine's clock is at least {} behind the broker's: {ADVICE}", minutes(first - now))
        }
        _ => format!("this machine's clock is too far from the broker's: {ADVICE}"),
    }
}

/// The two timestamps between brackets in a broker's message.
fn range(said: &str) -> Option<(i64, i64)> {
    let (_, rest) = said.rsplit_once('[')?;
    let (first, last) = rest.split_once(']')?.0.split_once(',')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// Rounded to minutes, so that it is the same at each refusal.
fn minutes(millis: i64) -> String {
    let minutes = Duration::from_millis(millis.unsigned_abs() + 30_000).as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
