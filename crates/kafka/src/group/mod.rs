//! Membership in a consumer group: who owns which partition, and what is committed. rskafka has none of it.
//!
//! ```text
//!            calls: hold these, give up, lost
//!   group ───────────────────────────────────▶ consumer
//!         ◀───────────────────────────────────
//!            says: holds these, leaves            commits as `Standing` says
//! ```
//!
//! A `Membership` is the one thing that the consumer knows of. Behind it either protocol is spoken: the classic
//! one (`classic`), in which a member computes the assignment, or that of KIP-848 (`kip848`), in which the
//! broker does.

mod assignor;
mod classic;
mod coordinator;
mod kip848;
mod lease;
mod members;
mod membership;
mod offsets;
mod removal;
mod roster;
mod standing;

use std::time::Duration;

pub use assignor::{
    Assignment, Assignor, Subscriber, assign_cooperative_sticky, assign_range, is_cooperative,
};
pub(crate) use coordinator::Coordinator;
pub use lease::Lease;
pub use members::GroupMember;
pub(crate) use membership::{Call, Enrolment, Leave, Membership, Why};
pub use roster::Roster;
pub(crate) use standing::{Claim, Standing};

/// How soon to join again where the coordinator sends the member away, as Java's `retry.backoff.ms`.
const AGAIN: Duration = Duration::from_millis(100);

/// Which protocol is spoken with the group's coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// JoinGroup, SyncGroup, Heartbeat: every broker has it.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848): Kafka 4.0 and later.
    Consumer,
    /// The newer one where the broker takes it.
    Auto,
}
