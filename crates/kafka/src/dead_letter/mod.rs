//! Dead letters: records that cannot be processed, in a topic of their own.
//!
//! A dead letter has the record's key, value and headers, and further headers with the place and the reason of the failure.
//! It is delivered at least once: topic, partition and offset identify it.
//!
//! [`Redriver`] sends dead letters back to their topic, behind newer records. With poison in order ([`SequencedHandler`])
//! the later records of a key wait behind its dead letter, and an operator redrives or drops it by [`SequencedDeadLetters`].

mod reader;
mod record;
mod redrive;
mod redrive_progress;
mod sequence;

use std::sync::Arc;

use super::{Message, PublishError, Publisher, Receipt, Record};
pub use reader::{DlqCursor, DlqFilter, DlqPage, DlqReadError, DlqReader};
pub use record::{DeadLetter, DeadLetterSource};
pub use redrive::{DlqPosition, RedriveError, RedriveReport, RedriveSelection, Redriver};
pub use redrive_progress::RedriveProgress;
pub(crate) use sequence::Place;
pub use sequence::{
    BEHIND, SEQUENCE, Sequence, SequenceBounds, SequencedDeadLetters, SequencedHandler, VERDICT,
    VerdictError, Waiting, WaitingCounts,
};
// For their tests: a consumer has them.
#[doc(hidden)]
pub use sequence::{Decision, Entry, EntryKind, Full, KeySequences, Origin};

/// The reason why the record cannot be processed.
pub const ERROR: &str = "dead-letter-error";
/// The topic that it was read from.
pub const TOPIC: &str = "dead-letter-topic";
/// The partition that it was read from, in decimal.
pub const PARTITION: &str = "dead-letter-partition";
/// Its offset there, in decimal.
pub const OFFSET: &str = "dead-letter-offset";
/// Its timestamp there, ISO 8601 in UTC with milliseconds.
pub const TIMESTAMP: &str = "dead-letter-timestamp";
/// The consumer group that could not process it.
pub const GROUP: &str = "dead-letter-group";
/// If the record was too large: the bytes of its value, in decimal. The dead letter has the beginning.
pub const TRUNCATED: &str = "dead-letter-truncated-from";
/// The number of times that a record was redriven, in decimal. The record keeps the header when it fails again.
pub const REDRIVES: &str = "dead-letter-redrives";
/// The partition and the offset at which a redriven record was read first, such as `4/4711`. The record keeps the header
/// when it fails again.
pub const ORIGIN: &str = "dead-letter-origin";

/// The most bytes that remain of a value that is too large; fewer if the topic takes fewer.
const TRUNCATED_VALUE: usize = 16 * 1024;
/// The most bytes that remain of its key.
const TRUNCATED_KEY: usize = 1024;

/// The partition and the offset at which a redriven record was read first; `None` for a record that was not redriven.
pub fn origin_of(record: &Record) -> Option<(i32, i64)> {
    let (partition, offset) = std::str::from_utf8(record.headers.last(ORIGIN)?).ok()?.split_once('/')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// Sends dead letters to their topic.
#[derive(Clone)]
pub struct DlqPublisher {
    publisher: Arc<dyn Publisher>,
    source: Arc<str>,
    group: Arc<str>,
}

impl DlqPublisher {
    /// A publisher of dead letters of that source topic and group. `publisher` sends to the dead letter topic.
    pub fn new(publisher: Arc<dyn Publisher>, source: &str, group: &str) -> Self {
        Self { publisher, source: source.into(), group: group.into() }
    }

    /// Sends a record to the dead letter topic; once that has succeeded, the record is done. A record that is too large
    /// for the topic is sent with the beginning of its value, and with half of that until the topic takes it.
    ///
    /// # Errors
    ///
    /// Kafka did not acknowledge the dead letter.
    pub async fn send_to_dlq(&self, record: &Record, reason: &str) -> Result<Receipt, PublishError> {
        self.send(record, reason, None).await
    }

    /// As [`DlqPublisher::send_to_dlq`], with its place in a sequence. A waiting one is never cut, as it is to be processed,
    /// and each keeps the significant part of its key.
    pub(crate) async fn send(
        &self,
        record: &Record,
        reason: &str,
        place: Option<&Place>,
    ) -> Result<Receipt, PublishError> {
        let mut dead_letter = self.dead_letter(record, reason, place);
        let least = if place.is_some() { TRUNCATED_KEY } else { 0 };
        let mut left = Some(TRUNCATED_VALUE).filter(|_| place.is_none_or(|place| place.behind.is_none()));
        loop {
            match (self.publisher.publish(dead_letter).await, left) {
                (Err(PublishError::TooLarge(_)), Some(most)) => {
                    dead_letter = self.shortened(record, reason, place, most);
                    left = (most > least).then_some(most / 2);
                }
                (Ok(receipt), _) if place.is_some() => return sequence::in_place(receipt, record.partition),
                (published, _) => return published,
            }
        }
    }

    fn dead_letter(&self, record: &Record, reason: &str, place: Option<&Place>) -> Message {
        // Headers of the source's record with these names would make it count as another entry than it is.
        let is_own = |name: &str| ![SEQUENCE, BEHIND, VERDICT].contains(&name);
        // A header without a value becomes an empty one: a `Message` has no null values.
        let own =
            record.headers.iter().filter(|(name, _)| is_own(name)).map(|(name, value)| {
                (name.into_owned(), value.map(|value| value.to_vec()).unwrap_or_default())
            });
        Message {
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            headers: own.chain(self.position(record, reason, place)).collect(),
            timestamp: chrono::Utc::now(),
            partition: place.map(|_| record.partition),
        }
    }

    /// A dead letter with at most `most` bytes of the value, and of the reason.
    fn shortened(&self, record: &Record, reason: &str, place: Option<&Place>, most: usize) -> Message {
        let beginning = |bytes: &bytes::Bytes, most: usize| bytes[..bytes.len().min(most)].to_vec();
        let size = record.value.as_ref().map_or(0, bytes::Bytes::len);
        let mut headers = self.position(record, &reason[..reason.floor_char_boundary(most)], place);
        headers.push((TRUNCATED.to_owned(), size.to_string().into_bytes()));
        Message {
            key: record.key.as_ref().map(|key| beginning(key, most.min(TRUNCATED_KEY))),
            value: record.value.as_ref().map(|value| beginning(value, most)),
            headers,
            timestamp: chrono::Utc::now(),
            partition: place.map(|_| record.partition),
        }
    }

    fn position(&self, record: &Record, reason: &str, place: Option<&Place>) -> Vec<(String, Vec<u8>)> {
        let timestamp = record::iso8601(record.timestamp);
        [
            (ERROR, reason.to_owned()),
            (TOPIC, self.source.to_string()),
            (PARTITION, record.partition.to_string()),
            (OFFSET, record.offset.to_string()),
            (TIMESTAMP, timestamp),
            (GROUP, self.group.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .into_iter()
        .chain(place.into_iter().flat_map(Place::headers))
        .collect()
    }
}

impl std::fmt::Debug for DlqPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DlqPublisher").field("source", &self.source).field("group", &self.group).finish()
    }
}
