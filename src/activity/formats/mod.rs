//! The formats of others: each file reads one of them into events of ours.

pub(super) mod cloud_event;
pub(super) mod segment;
