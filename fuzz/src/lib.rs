//! The functions that the targets feed, each with the claims that must hold for any input. A panic is a finding.

mod batch;
mod cloud_events;
mod codings;
mod event;
mod fetch;
mod group;
mod pieces;
mod routes;
mod segment;
mod service;

pub use batch::batch;
pub use cloud_events::cloud_events;
pub use codings::codings;
pub use event::event;
pub use fetch::fetch;
pub use group::group;
pub use routes::routes;
pub use segment::segment;
