//! The activity service, end to end.

mod batches;
mod broker_away;
mod broker_faults;
mod coverage;
mod dead_letters;
mod dialects;
mod duplicates;
mod log_bounds;
mod made_again;
mod malformed;
mod members;
mod metrics;
mod publishing;
mod readiness;
mod refusing;
mod restarting;
mod sharing;
mod three_brokers;

use highwater_kafka::Message;

/// A record as another program might write it.
pub(crate) fn message(key: &str, value: impl Into<Vec<u8>>) -> Message {
    Message {
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.into()),
        headers: Vec::new(),
        timestamp: chrono::Utc::now(),
        partition: None,
    }
}
