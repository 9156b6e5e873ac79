//! What the business says, a folder a service.

pub mod activity;
