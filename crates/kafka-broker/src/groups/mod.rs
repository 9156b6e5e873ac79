//! Groups as their coordinator keeps them: committed offsets, and members that speak one of two protocols.
//!
//! They are state machines without a socket. Requests are calls. [`Group::sweep`] is called regularly and handles timeouts.

mod classic;
pub mod consumer;
mod offsets;
mod stored;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

pub use classic::{Admission, ClassicGroup, Joined, Joining, Member, Phase};
pub use consumer::ConsumerGroup;
pub use offsets::{Committed, Offsets};

/// The protocol type of consumers, of either protocol.
const CONSUMER: &str = "consumer";
/// The first version of OffsetCommit that has a member epoch (KIP-848).
const COMMITS_BY_EPOCH: i16 = 9;

/// The member that a request names.
#[derive(Debug, Clone, Copy)]
pub struct MemberIdentity<'a> {
    /// Its member id.
    pub member: &'a str,
    /// Its instance id (KIP-345).
    pub instance: Option<&'a str>,
    /// Its generation or member epoch; -1 for none.
    pub generation: i32,
}

/// The request that a commit comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitRequest {
    /// OffsetCommit of that version.
    Plain(i16),
    /// TxnOffsetCommit.
    Transactional,
}

/// A group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its committed offsets.
    pub offsets: Offsets,
    members: Members,
}

/// The members of a group. All speak the same protocol: there is no live upgrade, as with
/// `group.consumer.migration.policy=disabled`.
#[derive(Debug, Clone)]
enum Members {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Default for Members {
    fn default() -> Self {
        Self::Classic(ClassicGroup::default())
    }
}

impl Group {
    /// The group as one of the classic protocol, if it is that.
    pub fn classic(&self) -> Option<&ClassicGroup> {
        match &self.members {
            Members::Classic(group) => Some(group),
            Members::Consumer(_) => None,
        }
    }

    /// As [`Group::classic`].
    pub fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        match &mut self.members {
            Members::Classic(group) => Some(group),
            Members::Consumer(_) => None,
        }
    }

    /// The group as one of the consumer protocol (KIP-848), if it is that.
    pub fn consumer(&self) -> Option<&ConsumerGroup> {
        match &self.members {
            Members::Consumer(group) => Some(group),
            Members::Classic(_) => None,
        }
    }

    /// As [`Group::consumer`].
    pub fn consumer_mut(&mut self) -> Option<&mut ConsumerGroup> {
        match &mut self.members {
            Members::Consumer(group) => Some(group),
            Members::Classic(_) => None,
        }
    }

    /// The group for a member that joins by the classic protocol. A group without members becomes one of it
    /// (`maybeDeleteEmptyConsumerGroup`).
    ///
    /// # Errors
    ///
    /// It has members of the other protocol. Kafka lets it join all the same.
    pub fn join_classic(&mut self) -> Result<&mut ClassicGroup, ResponseError> {
        if self.is_empty() && self.consumer().is_some() {
            self.members = Members::default();
        }
        self.classic_mut().ok_or(ResponseError::InconsistentGroupProtocol)
    }

    /// The group for a member that joins by the consumer protocol. A group without members becomes one of it, with the members
    /// that `new` makes (`maybeDeleteEmptyClassicGroup`).
    ///
    /// # Errors
    ///
    /// It has members of the other protocol.
    pub fn join_consumer(
        &mut self,
        new: impl FnOnce() -> ConsumerGroup,
    ) -> Result<&mut ConsumerGroup, ResponseError> {
        if self.is_empty() && self.classic().is_some() {
            self.members = Members::Consumer(new());
        }
        self.consumer_mut().ok_or(ResponseError::GroupIdNotFound)
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        match &self.members {
            Members::Classic(group) => group.phase() == Phase::Empty,
            Members::Consumer(group) => group.members().is_empty(),
        }
    }

    /// The name of its state in Kafka's protocol.
    pub fn state(&self) -> &'static str {
        match &self.members {
            Members::Classic(group) => group.phase().name(),
            Members::Consumer(group) => group.state(),
        }
    }

    /// The protocol type: `consumer` for consumers.
    pub fn protocol_type(&self) -> &str {
        match &self.members {
            Members::Classic(group) => group.protocol_type(),
            Members::Consumer(_) => CONSUMER,
        }
    }

    /// Its generation, or its epoch.
    pub fn generation(&self) -> i32 {
        match &self.members {
            Members::Classic(group) => group.generation(),
            Members::Consumer(group) => group.epoch(),
        }
    }

    /// The ids of its members.
    pub fn member_ids(&self) -> Vec<String> {
        match &self.members {
            Members::Classic(group) => group.members().keys().cloned().collect(),
            Members::Consumer(group) => group.members().keys().cloned().collect(),
        }
    }

    /// The client id of each member, and the time of its last request.
    pub fn heard(&self) -> Vec<(String, Instant)> {
        match &self.members {
            Members::Classic(group) => group
                .members()
                .values()
                .map(|member| (member.client_id().to_owned(), member.last_heard()))
                .collect(),
            Members::Consumer(group) => group
                .members()
                .values()
                .map(|member| (member.client_id().to_owned(), member.last_heard()))
                .collect(),
        }
    }

    /// Validates a commit (`Group.validateOffsetCommit`).
    ///
    /// # Errors
    ///
    /// It is not valid.
    pub fn may_commit(
        &mut self,
        identity: MemberIdentity<'_>,
        by: CommitRequest,
    ) -> Result<(), ResponseError> {
        match &mut self.members {
            Members::Classic(group) => group.may_commit(identity),
            Members::Consumer(group) => group.may_commit(identity, by),
        }
    }

    /// Handles timeouts. Returns whether anything changed.
    pub fn sweep(&mut self) -> bool {
        match &mut self.members {
            Members::Classic(group) => group.sweep(),
            Members::Consumer(group) => group.sweep(),
        }
    }
}
