//! The activity service: events in over REST, through Kafka, stored once, out over REST.

mod answers;
mod api;
mod conflicts;
mod coverage;
mod cursor;
mod openapi;
mod paths;
mod payload;
mod processor;
pub mod record;
mod request;
mod routes;
mod selection;
pub mod selftest;
mod service;
mod store_status;

pub use answers::turns::Turns;
pub use api::Api;
pub use conflicts::Conflicts;
pub use coverage::Coverage;
pub use cursor::Run;
pub use openapi::{DOCUMENT, document};
pub use paths::PATHS;
pub use processor::Processor;
pub use request::{Accepts, NewEvent};
pub use routes::routes;
pub use service::run;
pub use store_status::StoreStatus;

/// The settings of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The event types that `POST /events/generate` takes, compared exactly.
    pub event_types: Vec<String>,
}
