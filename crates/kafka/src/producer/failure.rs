//! How an attempt fails, and what is to be done about it.

use std::sync::Arc;

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
    /// Kafka takes nothing from us until somebody grants it: state of the cluster, not of the record.
    AskForRights,
    /// It may work later; unanswered, it may be written all the same.
    TryAgain { unanswered: bool },
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

/// What is to be done after that failure.
pub(super) fn remedy(failure: &Failure) -> Remedy {
    match refusal(&failure.error) {
        Some(Refusal::TooLarge) => Remedy::Split,
        Some(Refusal::Rights) => Remedy::AskForRights,
        Some(Refusal::Invalid) => Remedy::GiveUp,
        Some(Refusal::NotBegun) => Remedy::TryAgain { unanswered: false },
        Some(Refusal::Passing) | None => Remedy::TryAgain { unanswered: failure.sent },
    }
}
