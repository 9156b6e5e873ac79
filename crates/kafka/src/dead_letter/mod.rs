//! Records that can never be processed, set aside in a topic of their own, as they came.
//!
//! A dead letter is the record's key, value and headers, and headers that say where it came from and why it
//! is here. It is delivered at least once: topic, partition and offset identify it.

mod reader;
mod record;
mod redrive;
mod redrive_progress;

use std::sync::Arc;

use super::{Message, PublishError, Publisher, Receipt, Record};
pub use reader::{DlqCursor, DlqFilter, DlqPage, DlqReadError, DlqReader};
pub use record::{DeadLetter, DeadLetterSource};
pub use redrive::{DlqPosition, RedriveError, RedriveReport, RedriveSelection, Redriver};
pub use redrive_progress::RedriveProgress;

/// Why the record cannot be processed.
pub const ERROR: &str = "dead-letter-error";
/// The topic it was read from.
pub const TOPIC: &str = "dead-letter-topic";
/// The partition it was read from, in decimal.
pub const PARTITION: &str = "dead-letter-partition";
/// Its offset there, in decimal.
pub const OFFSET: &str = "dead-letter-offset";
/// Its timestamp there, ISO 8601 in UTC with milliseconds.
pub const TIMESTAMP: &str = "dead-letter-timestamp";
/// The consumer group that could not process it.
pub const GROUP: &str = "dead-letter-group";
/// Only where the record was too large: how many bytes its value had. What is here is its beginning.
pub const TRUNCATED: &str = "dead-letter-truncated-from";
/// Of a record that was sent back from the dead letters: how often, in decimal. It keeps it when it fails again.
pub const REDRIVES: &str = "dead-letter-redrives";

/// What is left of a value that does not fit, in bytes; less where the topic takes less.
const TRUNCATED_VALUE: usize = 16 * 1024;
/// The most that is left of a key then, in bytes.
const TRUNCATED_KEY: usize = 1024;

/// The way to the dead letter topic.
#[derive(Clone)]
pub struct DlqPublisher {
    publisher: Arc<dyn Publisher>,
    source: Arc<str>,
    group: Arc<str>,
}

impl DlqPublisher {
    /// Dead dead letters of one source topic and group, sent through that publisher.
    pub fn new(publisher: Arc<dyn Publisher>, source: &str, group: &str) -> Self {
        Self { publisher, source: source.into(), group: group.into() }
    }

    /// Sets a record aside; once this succeeds the record is done. One too large for the topic goes as its
    /// position and the beginning of its value, of which there is half as much until the topic takes it.
    pub async fn send_to_dlq(&self, record: &Record, reason: &str) -> Result<Receipt, PublishError> {
        let mut dead_letter = self.dead_letter(record, reason);
        let mut left = Some(TRUNCATED_VALUE);
        loop {
            match (self.publisher.publish(dead_letter).await, left) {
                (Err(PublishError::TooLarge(_)), Some(most)) => {
                    dead_letter = self.shortened(record, reason, most);
                    left = (most > 0).then_some(most / 2);
                }
                (published, _) => return published,
            }
        }
    }

    fn dead_letter(&self, record: &Record, reason: &str) -> Message {
        // What is sent has a value in each header: one without becomes an empty one.
        let own = record.headers.iter().map(|(name, value)| {
            (name.clone(), value.as_ref().map(|value| value.to_vec()).unwrap_or_default())
        });
        Message {
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            headers: own.chain(self.position(record, reason)).collect(),
            timestamp: chrono::Utc::now(),
            partition: None,
        }
    }

    /// At most so many bytes of the value, and of the reason.
    fn shortened(&self, record: &Record, reason: &str, most: usize) -> Message {
        let beginning = |bytes: &bytes::Bytes, most: usize| bytes[..bytes.len().min(most)].to_vec();
        let size = record.value.as_ref().map_or(0, bytes::Bytes::len);
        let mut headers = self.position(record, &reason[..reason.floor_char_boundary(most)]);
        headers.push((TRUNCATED.to_owned(), size.to_string().into_bytes()));
        Message {
            key: record.key.as_ref().map(|key| beginning(key, most.min(TRUNCATED_KEY))),
            value: record.value.as_ref().map(|value| beginning(value, most)),
            headers,
            timestamp: chrono::Utc::now(),
            partition: None,
        }
    }

    fn position(&self, record: &Record, reason: &str) -> Vec<(String, Vec<u8>)> {
        let timestamp = record::moment(record.timestamp);
        [
            (ERROR, reason.to_owned()),
            (TOPIC, self.source.to_string()),
            (PARTITION, record.partition.to_string()),
            (OFFSET, record.offset.to_string()),
            (TIMESTAMP, timestamp),
            (GROUP, self.group.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .to_vec()
    }
}

impl std::fmt::Debug for DlqPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DlqPublisher").field("source", &self.source).field("group", &self.group).finish()
    }
}
