//! What the group has committed of a partition: an offset, and beside it how far back the projection reached then.

/// What the note of a committed offset begins with, so that another's is not taken for ours.
const KIND: &str = "held-from:";

/// A committed offset, as Kafka keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    /// The next to be processed.
    pub(super) offset: i64,
    /// The oldest record that the projection held, where that is known: below `offset`, or at it where it held none.
    pub(super) held_from: Option<i64>,
}

impl Committed {
    /// What was committed with that note; one of another kind says nothing, as after `kafka-consumer-groups
    /// --reset-offsets`.
    pub(super) fn read(offset: i64, note: &str) -> Self {
        let held_from = note.strip_prefix(KIND).and_then(|number| number.parse().ok());
        Self { offset, held_from: held_from.filter(|held_from| (0..=offset).contains(held_from)) }
    }

    /// What to commit beside that offset. Of what is held nothing may be below it, as processing can be ahead of what
    /// is committed.
    pub(super) fn note(offset: i64, held_from: Option<i64>) -> String {
        held_from.map(|held_from| format!("{KIND}{}", held_from.min(offset))).unwrap_or_default()
    }
}
