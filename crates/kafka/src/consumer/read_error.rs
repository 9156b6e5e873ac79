//! The errors of a reader.

use kafka_protocol::ResponseError;
use thiserror::Error;

use crate::{FetchPosition, TransientError, wire::WireError};

/// The error of a read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is below the log's start or beyond its end, as its newest leader says.
    #[error("the offset is out of the log's range")]
    OutOfRange,
    /// The topic was deleted and recreated.
    #[error("the topic was deleted and made again")]
    TopicRecreated,
    /// The log does not have all that was read: a replica that lacked it was elected. Both have the records below this
    /// position; `None` if that is not known.
    #[error("the log was truncated by an unclean election")]
    Truncated(Option<FetchPosition>),
    /// The batch at the offset cannot be decoded.
    #[error("{0}")]
    Undecodable(String),
    /// An error that may pass.
    #[error(transparent)]
    Transient(TransientError),
}

impl From<WireError> for ReadError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Refused { error: ResponseError::OffsetOutOfRange, .. } => Self::OutOfRange,
            WireError::Refused { error: ResponseError::UnknownTopicId, .. } => Self::TopicRecreated,
            WireError::Malformed { reason, .. } => Self::Undecodable(reason),
            error => Self::Transient(TransientError::new(Explained(error))),
        }
    }
}

/// An error of our own Fetch, with the advice that goes with it.
#[derive(Debug, Error)]
#[error("{}", .0.explained())]
struct Explained(WireError);
