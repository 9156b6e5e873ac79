//! The event log, on databases in memory that fail when they are told to.

mod crashes;
mod fakes;
#[cfg(feature = "lambda")]
mod lambda;
mod listing;
mod operating;
mod recording;
mod sweeping;
mod troubles;
