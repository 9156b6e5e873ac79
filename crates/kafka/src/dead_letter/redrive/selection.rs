//! What is asked of a redrive.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::DeadLetter;

/// Which dead letters are to be sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedriveSelection {
    /// All that there are.
    All,
    /// Those whose reason has this in it.
    Reason(String),
    /// Those at these places of the dead letter topic.
    Positions(BTreeSet<DlqPosition>),
}

/// A place in the dead letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DlqPosition {
    /// The partition of the dead letter topic.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

impl RedriveSelection {
    /// Whether a dead letter is one of those asked for, wherever it stands.
    pub(super) fn takes(&self, dead_letter: &DeadLetter) -> bool {
        match self {
            Self::Reason(reason) => dead_letter.reason.contains(reason.as_str()),
            Self::All | Self::Positions(_) => true,
        }
    }
}
