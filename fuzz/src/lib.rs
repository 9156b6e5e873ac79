//! The functions that the targets feed, each with the claims that must hold for any input. A panic is a finding.

mod batch;
mod event;
mod fetch;
mod group;

pub use batch::batch;
pub use event::event;
pub use fetch::fetch;
pub use group::group;
