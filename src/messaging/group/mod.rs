//! Membership in a consumer group by Kafka's classic protocol: who owns which partition, and what is
//! committed. rskafka has none of it.
//!
//! ```text
//! find the coordinator ─▶ join ─▶ sync ─▶ assigned ─▶ revoking (stop, drain, commit) ─┐
//!          ▲                                                                          ├─▶ leave
//!          └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The states are `ConsumerCoordinator`'s in Java; the loop over them is the consumer's.
//! A `Generation` is one value: member id and generation travel together, in each heartbeat and commit,
//! so that an answer to an old one can change nothing.

mod assignor;
mod coordinator;
mod heart;
mod lease;
mod member;
mod offsets;

pub use assignor::{Assignment, Subscriber, assign_range};
pub(crate) use coordinator::Coordinator;
pub(crate) use heart::{Heart, Pulse};
pub use lease::Lease;
pub(crate) use member::{Generation, Member, Session};
