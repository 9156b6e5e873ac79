//! Poison in order: later records of a key wait behind one that is set aside, until that is redriven or dropped.
//!
//! ```text
//! record ─▶ does its key wait? ─ no ─▶ handler ─ poison ─▶ dead letter topic, the partition of the same number
//!                 └──── yes ───────────────────────────────▶    │ letters and verdicts, read back by the worker
//!           handler ◀─ the key's letters, in order ◀────────────┘
//! ```
//!
//! The dead letter topic is the only record of the letters that wait. The worker of a partition reads it when it takes the
//! partition up, and processes the letters itself: no other process can put a record of the key before them.

mod entry;
mod handler;
mod operator;
mod state;
mod turn;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{PublishError, Receipt};
pub use entry::{Entry, EntryKind};
pub use handler::SequencedHandler;
pub use operator::{Sequence, SequencedDeadLetters, VerdictError};
pub use state::{Decision, Full, KeySequences, Origin};

/// The header of a dead letter that others of its key wait behind, or that waits, and of a verdict. It has the source
/// topic's id as Kafka's tools write it, empty where it is not known.
pub const SEQUENCE: &str = "dead-letter-sequence";
/// The header of a dead letter that waits: the offset in the source partition of the one that it waited behind first, in
/// decimal.
pub const BEHIND: &str = "dead-letter-behind";
/// The header of a record that is a verdict about a dead letter and no dead letter itself: `redrive`, `drop` or `done`.
pub const VERDICT: &str = "dead-letter-verdict";

/// The bounds of what may wait of one partition. At a bound the partition waits too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequenceBounds {
    /// The most keys that wait. 1,024 by default, as in Axon's `SequencedDeadLetterQueue`.
    pub keys: usize,
    /// The most dead letters of a key, the one that it waits behind included. 1,024 by default. In memory each takes
    /// about 40 bytes.
    pub letters: usize,
}

impl Default for SequenceBounds {
    fn default() -> Self {
        Self { keys: 1024, letters: 1024 }
    }
}

impl SequenceBounds {
    /// Sets [`SequenceBounds::keys`].
    #[must_use]
    pub fn with_keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// Sets [`SequenceBounds::letters`].
    #[must_use]
    pub fn with_letters(self, letters: usize) -> Self {
        Self { letters, ..self }
    }
}

/// The numbers of waiting keys and letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Keys that wait.
    pub keys: usize,
    /// Their dead letters, those that the keys wait behind included.
    pub letters: usize,
}

/// The waiting keys and letters of each partition of a consumer. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct WaitingCounts(Arc<Mutex<BTreeMap<i32, Waiting>>>);

impl WaitingCounts {
    /// The sum over all partitions.
    pub fn total(&self) -> Waiting {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().fold(Waiting::default(), |sum, waiting| Waiting {
            keys: sum.keys + waiting.keys,
            letters: sum.letters + waiting.letters,
        })
    }

    fn set(&self, partition: i32, waiting: Waiting) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, waiting);
    }
}

/// Checks that an entry is in the partition of its sequence. A producer that knows of no such partition writes it to another,
/// where it does not count.
pub(super) fn in_place(receipt: Receipt, partition: i32) -> Result<Receipt, PublishError> {
    if receipt.partition == partition {
        return Ok(receipt);
    }
    let why = format!(
        "the dead letter topic needs as many partitions as its source, and has no partition {partition}"
    );
    Err(PublishError::Forbidden(why))
}

/// The place of a dead letter in its sequence, for its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The value of [`SEQUENCE`].
    pub(crate) topic_id: Arc<str>,
    /// The value of [`BEHIND`]; `None` for a record that was handled and is poison.
    pub(crate) behind: Option<i64>,
}

impl Place {
    /// Its headers.
    pub(super) fn headers(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let behind = self.behind.map(|behind| (BEHIND.to_owned(), behind.to_string().into_bytes()));
        [(SEQUENCE.to_owned(), self.topic_id.as_bytes().to_vec())].into_iter().chain(behind)
    }
}
