//! The activity service: events in over REST, through Kafka, stored once, out over REST.

mod processor;
pub mod record;
pub mod timestamp;

pub use processor::Processor;
