//! The entries of a dead letter topic that sequences are made of.

use std::{str::FromStr, sync::Arc};

use chrono::{DateTime, Utc};

use super::{BEHIND, Origin, SEQUENCE, VERDICT};
use crate::{
    Message, Record,
    dead_letter::{GROUP, OFFSET, PARTITION, TIMESTAMP, TOPIC, TRUNCATED_KEY, record::iso8601},
};

/// An entry of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The record of the source partition that it is about.
    pub origin: Origin<'a>,
    /// The statement about the record.
    pub kind: EntryKind,
}

/// The statement of an entry. `at` is its offset in the dead letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A dead letter that was processed in vain.
    Poison {
        /// Its offset.
        at: i64,
    },
    /// A dead letter that waits.
    Waiting {
        /// Its offset.
        at: i64,
    },
    /// An operator wants it to be processed again.
    Redrive,
    /// An operator wants it not to be processed.
    Drop,
    /// The consumer has processed it.
    Done,
}

/// The source of sequences. Entries of another one do not count.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) topic: Arc<str>,
    /// As in [`SEQUENCE`].
    pub(super) topic_id: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) partition: i32,
}

/// The significant part of a key: as much as a dead letter keeps.
pub(super) fn counted(key: &[u8]) -> &[u8] {
    &key[..key.len().min(TRUNCATED_KEY)]
}

/// A record of the source partition, if it has a key.
pub(super) fn origin(record: &Record) -> Option<Origin<'_>> {
    let (key, timestamp) = (counted(record.key.as_ref()?), record.timestamp.timestamp_millis());
    Some(Origin { key, offset: record.offset, timestamp })
}

impl Source {
    /// The entry that a record of the dead letter topic is; `None` if it is none of this source.
    pub(super) fn entry<'a>(&self, record: &'a Record) -> Option<Entry<'a>> {
        fn number<N: FromStr>(record: &Record, name: &str) -> Option<N> {
            std::str::from_utf8(record.headers.last(name)?).ok()?.parse().ok()
        }
        let is = |name: &str, value: &str| record.headers.last(name) == Some(value.as_bytes());
        if !is(SEQUENCE, &self.topic_id) || !is(TOPIC, &self.topic) || !is(GROUP, &self.group) {
            return None;
        }
        number::<i32>(record, PARTITION).filter(|partition| *partition == self.partition)?;
        let at = record.offset;
        let kind = match record.headers.last(VERDICT) {
            None if record.headers.contains(BEHIND) => EntryKind::Waiting { at },
            None => EntryKind::Poison { at },
            Some(b"redrive") => EntryKind::Redrive,
            Some(b"drop") => EntryKind::Drop,
            Some(b"done") => EntryKind::Done,
            Some(_) => return None,
        };
        let timestamp: DateTime<Utc> = number(record, TIMESTAMP)?;
        let origin = Origin {
            key: counted(record.key.as_ref()?),
            offset: number(record, OFFSET)?,
            timestamp: timestamp.timestamp_millis(),
        };
        Some(Entry { origin, kind })
    }

    /// The record of a verdict about a letter: `redrive`, `drop` or `done`.
    pub(super) fn verdict(&self, origin: Origin<'_>, verdict: &str) -> Message {
        let headers = [
            (SEQUENCE, self.topic_id.to_string()),
            (VERDICT, verdict.to_owned()),
            (TOPIC, self.topic.to_string()),
            (PARTITION, self.partition.to_string()),
            (OFFSET, origin.offset.to_string()),
            (TIMESTAMP, iso8601(DateTime::from_timestamp_millis(origin.timestamp).unwrap_or_default())),
            (GROUP, self.group.to_string()),
        ];
        Message {
            key: Some(origin.key.to_vec()),
            value: None,
            headers: headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).to_vec(),
            timestamp: Utc::now(),
            partition: Some(self.partition),
        }
    }
}
