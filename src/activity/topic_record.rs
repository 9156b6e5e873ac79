//! A record of the topic: an event, or the marker of an erasure.
//!
//! A marker has the user as its key, no value, and a header of its own. To Kafka it is a tombstone: the records of its key
//! are deleted. No posted event can be one, since its record has a value.

use std::borrow::Cow;

use chrono::Utc;
use highwater_kafka::{Event, Malformed, Message, Payload, Record, dead_letter::origin_of};
use uuid::Uuid;

use crate::store::{ActivityEvent, Erasure};

/// The header of a marker. Its value is a UUID, the same in all partitions, for people who look for them.
const MARKER: &str = "highwater-erasure";

/// A record of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRecord {
    /// An event.
    Event(ActivityEvent),
    /// The events of a user that the partition had before the record are erased.
    Erasure(Erasure),
}

impl Event for TopicRecord {
    const SELF_DESCRIBING: bool = true;

    fn key(&self) -> Cow<'_, str> {
        match self {
            Self::Event(event) => event.key(),
            Self::Erasure(erasure) => Cow::Borrowed(&erasure.user_id),
        }
    }

    fn event_type(&self) -> Cow<'_, str> {
        match self {
            Self::Event(event) => ActivityEvent::event_type(event),
            Self::Erasure(_) => Cow::Borrowed(MARKER),
        }
    }
}

impl Payload for TopicRecord {
    fn write(self) -> Result<Vec<u8>, Malformed> {
        match self {
            Self::Event(event) => event.write(),
            // A payload cannot be null.
            Self::Erasure(_) => Err(Malformed("a marker is sent as `marker` makes it".to_owned())),
        }
    }

    fn read(record: &Record) -> Result<Self, Malformed> {
        if record.value.is_some() || !record.headers.contains(MARKER) {
            return ActivityEvent::read(record).map(Self::Event);
        }
        let user_id = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let user_id = user_id.ok_or_else(|| Malformed("an erasure without a user".to_owned()))?.to_owned();
        Ok(Self::Erasure(Erasure { user_id, offset: first_offset(record) }))
    }
}

/// The offset at which the record was in the partition first: a redriven one was there before.
pub(super) fn first_offset(record: &Record) -> i64 {
    let origin = origin_of(record).filter(|(partition, _)| *partition == record.partition);
    origin.map_or(record.offset, |(_, offset)| offset)
}

/// A marker for that partition, or for the one of the user's events.
pub(super) fn marker(user_id: &str, erasure: Uuid, partition: Option<i32>) -> Message {
    Message {
        key: Some(user_id.as_bytes().to_vec()),
        value: None,
        headers: vec![(MARKER.to_owned(), erasure.to_string().into_bytes())],
        timestamp: Utc::now(),
        partition,
    }
}
