//! The activity service: events in over REST, through Kafka, stored once, out over REST.

mod answers;
mod conflicts;
mod cursor;
mod paths;
mod processor;
pub mod record;
mod request;
mod routes;
mod selection;
pub mod selftest;
mod service;
pub mod timestamp;

pub use answers::Metrics;
pub use conflicts::Conflicts;
pub use cursor::Run;
pub use processor::Processor;
pub use request::{Accepts, NewEvent};
pub use routes::{Api, routes};
pub use service::run;

/// The settings of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The event types that `POST /events/generate` takes, compared exactly.
    pub event_types: Vec<String>,
}
