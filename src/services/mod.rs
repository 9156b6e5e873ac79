//! What the business says, a folder a service.

pub mod activity;
pub mod dead_letters;
