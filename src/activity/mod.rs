//! The activity service. It takes events in over REST, carries them through Kafka, stores each once and answers queries.

mod answers;
mod api;
mod batch;
mod conflicts;
mod console;
mod coverage;
mod cursor;
mod event_stream;
mod faults;
mod fields;
mod formats;
mod logged_events;
mod openapi;
mod paths;
mod payload;
mod processor;
pub mod record;
mod rejections;
mod request;
mod routes;
mod schemas;
mod selection;
mod store_status;
mod topic_record;

pub use answers::concurrency_limit::ConcurrencyLimit;
pub use api::Api;
pub use batch::PostedBatchLimits;
pub use conflicts::Conflicts;
pub use coverage::Coverage;
pub use event_stream::EventStreams;
pub(crate) use fields::MAX_CHARACTERS;
pub use logged_events::LoggedEvents;
pub use openapi::{DOCUMENT, document};
pub use paths::PATHS;
pub use processor::Processor;
pub use rejections::Rejections;
pub use request::{AllowedTypes, NewEvent};
pub use routes::routes;
pub use schemas::{SchemaFault, SchemaMode, Schemas};
pub use store_status::StoreStatus;
pub use topic_record::TopicRecord;

/// The settings of the activity service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The event types that `POST /events/generate` takes, compared exactly.
    pub event_types: Vec<String>,
    /// The bounds of `POST /events/batch`.
    pub batch: PostedBatchLimits,
    /// The schemas of payloads.
    pub schemas: Option<Schemas>,
    /// The most readers of `GET /events/stream` at a time.
    pub max_event_streams: usize,
    /// The events that have lines in the log.
    pub logged_events: LoggedEvents,
}
