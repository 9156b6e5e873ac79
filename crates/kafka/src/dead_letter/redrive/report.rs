//! The result of a redrive.

use serde::Serialize;
use thiserror::Error;

use super::DlqReadError;
use crate::TransientError;

/// The result of a redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RedriveReport {
    /// Dead letters that were sent back and acknowledged.
    pub redriven: u64,
    /// Dead letters that stay because they were redriven too often.
    pub exhausted: u64,
    /// Dead letters that stay because only the beginning of their value is there.
    pub truncated: u64,
    /// Dead letters that stay because they come from another topic, or do not say from which.
    pub foreign: u64,
    /// Dead letters that stay because their source topic refuses them: too large, or not valid there.
    pub refused: u64,
    /// Requested positions of dead letters that were redriven before.
    pub already: u64,
    /// Requested positions without a dead letter.
    pub missing: u64,
    /// Whether all selected dead letters were handled. If not, the same redrive can be repeated, and goes on.
    pub complete: bool,
    /// The reason why not all were handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// A redrive that did not begin.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// Another redrive runs, in this process or in another.
    #[error("another redrive is at work")]
    Busy,
    /// Kafka does not answer in time.
    #[error("the redrive cannot begin: {0}")]
    Unavailable(TransientError),
    /// The dead letters cannot be read now.
    #[error("the redrive cannot begin: {0}")]
    Unreadable(DlqReadError),
}

impl From<DlqReadError> for RedriveError {
    fn from(error: DlqReadError) -> Self {
        Self::Unreadable(error)
    }
}

/// The reason why a redrive ended early.
pub(super) enum Interruption {
    /// It did not begin.
    Never(RedriveError),
    /// It stopped for that reason, with dead letters left.
    Early(String),
    /// Another member holds the lock for now.
    LockLost,
}
