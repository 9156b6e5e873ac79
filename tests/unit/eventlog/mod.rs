//! The event log on databases in memory, with injected failures.

mod crashes;
pub(crate) mod fakes;
#[cfg(feature = "lambda")]
mod lambda;
mod listing;
mod operating;
mod recording;
mod sweeping;
mod troubles;
