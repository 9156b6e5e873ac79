//! What became of a redrive.

use serde::Serialize;
use thiserror::Error;

use super::DlqReadError;

/// What became of a redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RedriveReport {
    /// DlqPage that were sent back, and that the topic they came from has acknowledged.
    pub redriven: u64,
    /// DlqPage that stay, having been sent back too often before.
    pub exhausted: u64,
    /// DlqPage that stay, because only the beginning of their value is there.
    pub truncated: u64,
    /// DlqPage that stay, because they did not come from this topic, or do not say from where.
    pub foreign: u64,
    /// DlqPage that stay, because the topic they came from does not take them: too large for it, or not valid there.
    pub refused: u64,
    /// Of those asked for by position: dead letters that were sent back before.
    pub already: u64,
    /// Of those asked for by position: places where no dead letter is.
    pub missing: u64,
    /// Whether all was seen to. Where not, the same redrive can be asked for again, and goes on.
    pub complete: bool,
    /// Why not all was seen to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// A redrive that did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// Another one is at work, here or in another process.
    #[error("another redrive is at work")]
    Busy,
    /// Kafka does not answer, or not in time.
    #[error("the redrive cannot begin: {0}")]
    Unavailable(String),
}

impl From<DlqReadError> for RedriveError {
    fn from(error: DlqReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why a redrive ended before its end.
pub(super) enum Interruption {
    /// It did not begin.
    Never(RedriveError),
    /// With something left, for that reason.
    Early(String),
    /// Another works, for now.
    LockLost,
}
