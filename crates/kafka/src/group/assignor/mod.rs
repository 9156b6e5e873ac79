//! The assignors, which the leader of a classic group runs. Names and rules are Java's, so that a group can have other
//! clients as members.

mod cooperative_sticky;
mod metadata;
mod range;

use std::collections::{BTreeMap, BTreeSet};

pub use cooperative_sticky::assign_cooperative_sticky;
pub(super) use metadata::{
    decode_assignment, decode_assignments, decode_subscription, encode_assignment, encode_subscription,
};
pub use range::assign_range;

use crate::config::Assignor;

impl Assignor {
    /// Whether members keep their partitions while they join again.
    fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Assigns the partitions of all topics to their subscribers.
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

/// Whether members keep their partitions through a rebalance: only if every offered assignor is cooperative, as any may
/// be elected (`ConsumerCoordinator`'s choice of a `RebalanceProtocol`).
pub fn is_cooperative(offered: &[Assignor]) -> bool {
    offered.iter().all(|assignor| assignor.is_cooperative())
}

/// A member, as an assignor sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// The id that the coordinator gave it.
    pub member: String,
    /// The configured id (static membership, KIP-345).
    pub instance: Option<String>,
    /// The topics that it subscribes to.
    pub topics: Vec<String>,
    /// The topics and partitions that it owns.
    pub owned: BTreeSet<(String, i32)>,
    /// The generation in which they were assigned; -1 if it does not tell.
    pub generation: i32,
}

/// Partitions by topic, by member.
pub type Assignment = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// All topics with a subscriber.
pub(super) fn topics_of(subscribers: &[Subscriber]) -> BTreeSet<String> {
    subscribers.iter().flat_map(|subscriber| subscriber.topics.iter().cloned()).collect()
}
