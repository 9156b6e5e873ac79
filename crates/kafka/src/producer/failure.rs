//! How an attempt fails, whose trouble that is, and what is to be done about it.
//!
//! | Whose | Kafka says | What is done |
//! |---|---|---|
//! | the record's | too large, invalid, a time of its own that is out of range | that record alone is refused |
//! | the partition's | no leader, no answer, too few replicas in sync | tried again until its time is up |
//! | the topic's | no right to write to it | all are refused until it takes one again |
//! | this instance's | no right to the cluster, a clock that is off | likewise |
//!
//! Too few replicas in sync, no rights and a clock that is off last until somebody acts. While nothing but such
//! refusals comes of a topic the service is not ready.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_protocol::ResponseError;

use crate::wire::WireError;

/// An attempt without an acknowledgement.
pub(super) struct Failure {
    pub(super) error: Arc<WireError>,
    /// Whether the batch was on its way when it failed.
    pub(super) sent: bool,
}

/// What to do after a batch was not acknowledged.
pub(super) enum Remedy {
    /// Kafka takes smaller batches only.
    Split,
    /// Kafka will never take one of these records.
    GiveUp,
    /// Kafka takes nothing from us until somebody acts, whatever is in it.
    RefuseAll,
    /// It may work later; unanswered, it may be written all the same.
    TryAgain { unanswered: bool },
}

/// What a broker's refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A record: smaller batches would be taken.
    TooLarge,
    /// A record.
    Invalid,
    /// A record's time: its own, or this machine's where the record is of now.
    Time,
    /// The topic, or this instance: rights.
    Rights,
    /// The partition, before the broker had begun to append.
    NotBegun,
    /// The partition; the records may have been appended before it was found out.
    Passing,
}

/// What the broker said, where it is one that answered.
pub(super) fn refusal(error: &WireError) -> Option<Refusal> {
    use ResponseError as E;
    Some(match error.code()? {
        E::MessageTooLarge | E::RecordListTooLarge => Refusal::TooLarge,
        E::TopicAuthorizationFailed | E::ClusterAuthorizationFailed => Refusal::Rights,
        E::InvalidTimestamp => Refusal::Time,
        E::InvalidRecord
        | E::InvalidTopicException
        | E::InvalidRequiredAcks
        | E::UnsupportedForMessageFormat => Refusal::Invalid,
        E::LeaderNotAvailable | E::NotEnoughReplicas | E::ThrottlingQuotaExceeded => Refusal::NotBegun,
        // Too few replicas after the append, or the leadership gone while it waited for them (DelayedProduce). A policy
        // is not Kafka's to a Produce: Azure Event Hubs says so where it throttles for longer than the request waits.
        _ => Refusal::Passing,
    })
}

/// What is to be done after that failure of records that are all of now, by this machine's clock, or are not.
pub(super) fn remedy(failure: &Failure, of_now: bool) -> Remedy {
    match refusal(&failure.error) {
        Some(Refusal::TooLarge) => Remedy::Split,
        Some(Refusal::Rights) => Remedy::RefuseAll,
        Some(Refusal::Time) if of_now => Remedy::RefuseAll,
        Some(Refusal::Invalid | Refusal::Time) => Remedy::GiveUp,
        Some(Refusal::NotBegun) => Remedy::TryAgain { unanswered: false },
        Some(Refusal::Passing) | None => Remedy::TryAgain { unanswered: failure.sent },
    }
}

/// A record that is at most so far from this machine's time is of now.
const NOW: TimeDelta = TimeDelta::minutes(1);

/// Whether a record of that time is of now: what is wrong with its time is wrong with the clock.
pub(super) fn is_of_now(time: DateTime<Utc>) -> bool {
    (Utc::now() - time).abs() <= NOW
}

/// What lasts until somebody acts, in words that stay the same while it does; `None` for all else.
pub(super) fn lasting(topic: &str, error: &WireError) -> Option<String> {
    use ResponseError as E;
    Some(match error.code()? {
        E::TopicAuthorizationFailed => format!("no right to write to topic {topic} (ACL WRITE): {error}"),
        E::ClusterAuthorizationFailed => format!("no right to write to topic {topic}: {error}"),
        E::InvalidTimestamp => clock(error),
        E::NotEnoughReplicas | E::NotEnoughReplicasAfterAppend => format!(
            "fewer replicas of topic {topic} are in sync than its min.insync.replicas asks for (bring brokers back, or \
             lower it): {error}"
        ),
        _ => return None,
    })
}

/// What is known of this machine's clock where a broker refuses its time. Kafka says which times it would have taken
/// (`LogValidator`): up to its own, and what `message.timestamp.after.max.ms` adds to that.
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

/// The times between brackets in a broker's word.
fn range(said: &str) -> Option<(i64, i64)> {
    let (_, rest) = said.rsplit_once('[')?;
    let (first, last) = rest.split_once(']')?.0.split_once(',')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// To the minute, so that it is the same at each refusal.
fn minutes(millis: i64) -> String {
    let minutes = Duration::from_millis(millis.unsigned_abs() + 30_000).as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
