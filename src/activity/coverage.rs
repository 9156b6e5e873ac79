//! The partitions that an answer covers, as the header `Highwater-Partitions` tells.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use highwater_kafka::GroupStatus;
use warp::http::{HeaderName, HeaderValue};

/// The header with the [`Coverage`] of an answer, a Dictionary of structured fields (RFC 9651).
pub(super) const PARTITIONS: HeaderName = HeaderName::from_static("highwater-partitions");

/// The partitions whose events this instance has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The partitions that are assigned to this instance.
    held: BTreeSet<i32>,
    /// Those of them whose processed events are all in the store.
    restored: BTreeSet<i32>,
    /// The number of partitions of the topic.
    of: usize,
}

impl Coverage {
    /// The coverage of this member of the group now.
    pub fn now(group: &GroupStatus) -> Self {
        let numbers = |restored: bool| {
            let those = group.partitions.iter().filter(|held| held.restored || !restored);
            those.map(|held| held.partition).collect()
        };
        Self { held: numbers(false), restored: numbers(true), of: group.topic_partitions }
    }

    /// All partitions of a topic of so many: a store that all instances share has them.
    pub fn whole(of: usize) -> Self {
        let all: BTreeSet<i32> = (0..).take(of).collect();
        Self { held: all.clone(), restored: all, of }
    }

    /// The coverage of an answer that was made between these two.
    #[must_use]
    pub fn until(&self, later: &Self) -> Self {
        let both = |one: &BTreeSet<i32>, other| one.intersection(other).copied().collect();
        Self {
            held: both(&self.held, &later.held),
            restored: both(&self.restored, &later.restored),
            of: self.of.max(later.of),
        }
    }

    /// The restored partitions.
    pub(super) fn restored(&self) -> &BTreeSet<i32> {
        &self.restored
    }

    /// Whether the topic may have that partition, also where it has grown to twice as many since this instance looked.
    pub(super) fn may_be_of_topic(&self, partition: i32) -> bool {
        self.of == 0 || usize::try_from(partition).is_ok_and(|partition| partition < 2 * self.of)
    }

    /// The restored partitions that `later` lacks.
    pub(super) fn lost(&self, later: &Self) -> Option<Self> {
        let lost: BTreeSet<i32> = self.restored.difference(&later.restored).copied().collect();
        (!lost.is_empty()).then(|| Self { held: lost.clone(), restored: lost, of: self.of })
    }

    /// The value of the header.
    pub(super) fn value(&self) -> HeaderValue {
        // Unreachable: the text is ASCII.
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
        // Writing to a String cannot fail.
        let _ = if first == last {
            write!(text, "{comma}{first}")
        } else {
            write!(text, "{comma}{first}-{last}")
        };
    }
    text
}
