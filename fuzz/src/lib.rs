//! What the targets feed, each with what must hold whatever comes in. A panic is a finding.

mod event;
mod fetch;
mod group;

pub use event::event;
pub use fetch::fetch;
pub use group::group;
