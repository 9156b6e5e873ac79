//! Membership in a consumer group: the assignment and the committed offsets. rskafka has none of it.
//!
//! ```text
//!        GroupEvent: assigned, revoke all, lost
//!   group ───────────────────────────────────▶ consumer
//!         ◀───────────────────────────────────
//!        MemberReply: owns these, leaves          commits as `MemberState` says
//! ```
//!
//! The consumer knows one thing of the group, a `Membership`. It speaks the classic protocol (`classic`), in which a
//! member computes the assignment, or that of KIP-848 (`kip848`), in which the broker does.

mod assignor;
mod classic;
mod committed;
mod coordinator;
mod deletion;
mod description;
mod group_offsets;
mod kip848;
mod lease;
mod member_state;
mod members;
mod membership;
mod offsets;

use std::time::Duration;

// For property tests and fuzzing: a member's assignment needs no more than [`Assignor`].
#[doc(hidden)]
pub use assignor::{Assignment, Subscriber, assign_cooperative_sticky, assign_range, is_cooperative};
// For its tests: consumers write and read it themselves.
#[doc(hidden)]
pub use committed::CommittedOffset;
pub(crate) use committed::{metadata_field, topic_id_text, topic_of, with_topic};
pub(crate) use coordinator::Coordinator;
pub use description::GroupDescription;
pub use group_offsets::{GroupOffsets, MoveError};
// For its tests: a consumer keeps its lease to itself.
#[doc(hidden)]
pub use lease::Lease;
pub(crate) use member_state::{MemberGeneration, MemberState};
pub use members::GroupMember;
pub(crate) use membership::{GroupEvent, LeaveReason, MemberContext, Membership, RebalanceCause};
pub(crate) use offsets::{CommittedOffsets, OffsetAndMetadata, UNSTABLE_OFFSET};

pub use crate::config::{Assignor, GroupProtocol};

/// The delay before the next join when the coordinator asks for one, as Java's `retry.backoff.ms`.
const REJOIN_DELAY: Duration = Duration::from_millis(100);
