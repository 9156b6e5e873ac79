//! The functions that the targets feed, each with the claims that must hold for any input. A panic is a finding.

mod event;
mod fetch;
mod group;

pub use event::event;
pub use fetch::fetch;
pub use group::group;
