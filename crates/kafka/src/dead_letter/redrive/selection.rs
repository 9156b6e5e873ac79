//! The dead letters that a redrive is asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::DeadLetter;

/// Selects the dead letters to redrive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedriveSelection {
    /// All of them.
    All,
    /// Dead letters whose reason contains this text.
    Reason(String),
    /// Dead letters at these positions of the dead letter topic.
    Positions(BTreeSet<DlqPosition>),
}

/// A position in the dead letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DlqPosition {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl RedriveSelection {
    /// Whether a dead letter is selected, wherever it is.
    pub(super) fn takes(&self, dead_letter: &DeadLetter) -> bool {
        match self {
            Self::Reason(reason) => dead_letter.reason.contains(reason.as_str()),
            Self::All | Self::Positions(_) => true,
        }
    }
}
