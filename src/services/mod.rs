//! What the business says: one service a directory, and what they share beside it.

pub mod activity;
pub mod dead_letters;
pub mod discreet;
#[cfg(feature = "embedded-broker")]
pub mod embedded;
pub mod eventlog;
pub mod fields;
pub mod idempotency;
pub mod identity;
pub mod moment;
pub mod operations;
pub mod orders;
pub mod page;
pub mod resource;
pub mod state;
pub mod timestamp;
pub mod unpublished;
pub mod users;
