//! Which part of the topic an answer is from.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use highwater_kafka::GroupStatus;
use warp::http::{HeaderName, HeaderValue};

/// What an answer is from: a Dictionary, as structured fields have it (RFC 9651).
pub(super) const PARTITIONS: HeaderName = HeaderName::from_static("highwater-partitions");

/// The partitions whose events are here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Those that this instance has.
    held: BTreeSet<i32>,
    /// Of these, those of which it has all that was processed.
    restored: BTreeSet<i32>,
    /// How many the topic has.
    of: usize,
}

impl Coverage {
    /// What this member of the group has now.
    pub fn now(group: &GroupStatus) -> Self {
        let numbers = |restored: bool| {
            let those = group.partitions.iter().filter(|held| held.restored || !restored);
            those.map(|held| held.partition).collect()
        };
        Self { held: numbers(false), restored: numbers(true), of: group.topic_partitions }
    }

    /// What holds for an answer that was made between the two moments.
    #[must_use]
    pub fn until(&self, later: &Self) -> Self {
        let both = |one: &BTreeSet<i32>, other| one.intersection(other).copied().collect();
        Self {
            held: both(&self.held, &later.held),
            restored: both(&self.restored, &later.restored),
            of: self.of.max(later.of),
        }
    }

    /// Those that are restored and that the other lacks.
    pub(super) fn lost(&self, later: &Self) -> Option<Self> {
        let lost: BTreeSet<i32> = self.restored.difference(&later.restored).copied().collect();
        (!lost.is_empty()).then(|| Self { held: lost.clone(), restored: lost, of: self.of })
    }

    /// As the header has it.
    pub(super) fn value(&self) -> HeaderValue {
        // Digits and ASCII.
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static("whole=?0"))
    }
}

/// `held="0-2,4", restored="0-2", of=6, whole=?0`
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = u8::from(self.of > 0 && self.restored.len() >= self.of);
        let (held, restored) = (ranges(&self.held), ranges(&self.restored));
        write!(f, "held=\"{held}\", restored=\"{restored}\", of={}, whole=?{whole}", self.of)
    }
}

/// `0-2,4`
pub(super) fn ranges(numbers: &BTreeSet<i32>) -> String {
    let mut text = String::new();
    let mut left = numbers.iter().copied().peekable();
    while let Some(first) = left.next() {
        let mut last = first;
        while let Some(next) = left.next_if(|next| *next == last + 1) {
            last = next;
        }
        let comma = if text.is_empty() { "" } else { "," };
        // A String takes whatever it is given.
        let _ = if first == last {
            write!(text, "{comma}{first}")
        } else {
            write!(text, "{comma}{first}-{last}")
        };
    }
    text
}
