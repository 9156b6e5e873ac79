//! Who gets which partition: what the leader of a classic group computes. Names and rules are Java's, so that
//! a group can be shared with any other client.

mod cooperative_sticky;
mod metadata;
mod range;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use cooperative_sticky::assign_cooperative_sticky;
pub(super) use metadata::{
    decode_assignment, decode_assignments, decode_subscription, encode_assignment, encode_subscription,
};
pub use range::assign_range;

/// A rule by which partitions are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Each topic's partitions in ranges; everything is given up and assigned anew (`RangeAssignor`).
    Range,
    /// As even as can be, and everything that can stay stays (`CooperativeStickyAssignor`, KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Range, Self::CooperativeSticky];

    /// Its name on the wire, and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether its members may keep their partitions while they join again.
    fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Shares out the partitions of all topics among those who want them.
    pub(super) fn assign(
        self,
        subscribers: &[Subscriber],
        partitions: &BTreeMap<String, usize>,
    ) -> Assignment {
        match self {
            Self::Range => assign_range(subscribers, partitions),
            Self::CooperativeSticky => assign_cooperative_sticky(subscribers, partitions),
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether partitions are kept through a rebalance: where every assignor on offer allows it, as whichever of
/// them is elected, the group then counts on it (`ConsumerCoordinator`'s choice of a `RebalanceProtocol`).
pub fn is_cooperative(offered: &[Assignor]) -> bool {
    offered.iter().all(|assignor| assignor.is_cooperative())
}

/// A member, as an assignor sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// The id the coordinator gave it.
    pub member: String,
    /// The id it was configured with (static membership, KIP-345).
    pub instance: Option<String>,
    /// What it wants to read.
    pub topics: Vec<String>,
    /// What it has not given up.
    pub owned: BTreeSet<(String, i32)>,
    /// The generation in which it got that; -1 where it did not say.
    pub generation: i32,
}

/// Partitions by topic, by member.
pub type Assignment = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// All topics that anyone wants.
pub(super) fn topics_of(subscribers: &[Subscriber]) -> BTreeSet<String> {
    subscribers.iter().flat_map(|subscriber| subscriber.topics.iter().cloned()).collect()
}
