//! A dead letter as it is read back: the record that it was, where that came from, and why it is here.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{ERROR, GROUP, OFFSET, PARTITION, REDRIVES, TIMESTAMP, TOPIC, TRUNCATED};
use crate::{Message, Record};

/// The headers that [`super::DlqPublisher`] adds; the others are the record's own.
const ADDED: [&str; 8] = [ERROR, TOPIC, PARTITION, OFFSET, TIMESTAMP, GROUP, TRUNCATED, REDRIVES];

/// A record of the dead letter topic, and what its headers say. Whatever another program has written there is
/// one, too: what its headers do not say is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The record as it stands in the dead letter topic. Its timestamp is when it was set aside.
    pub record: Record,
    /// Why it is here; empty where that is not known.
    pub reason: String,
    /// Where it was read.
    pub source: DeadLetterSource,
    /// How often it was sent back before it came here.
    pub redrives: u32,
    /// How many bytes its value had, where only the beginning is here.
    pub truncated_from: Option<u64>,
}

/// Where a dead letter was read; what is absent is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterSource {
    /// The topic.
    pub topic: Option<String>,
    /// The partition there.
    pub partition: Option<i32>,
    /// The offset there.
    pub offset: Option<i64>,
    /// The record's timestamp there.
    pub timestamp: Option<DateTime<Utc>>,
    /// The group that could not process it.
    pub group: Option<String>,
}

impl DeadLetter {
    /// What a record of the dead letter topic says.
    pub fn read(record: Record) -> Self {
        let text = |name: &str| {
            // Of a name that repeats, the last counts: it was added last.
            let found = record.headers.iter().rev().find(|(known, _)| known == name);
            found.and_then(|(_, value)| Some(String::from_utf8_lossy(value.as_deref()?).into_owned()))
        };
        fn number<N: std::str::FromStr>(text: Option<String>) -> Option<N> {
            text.and_then(|text| text.parse().ok())
        }
        let timestamp = text(TIMESTAMP).and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        Self {
            reason: text(ERROR).unwrap_or_default(),
            source: DeadLetterSource {
                topic: text(TOPIC),
                partition: number(text(PARTITION)),
                offset: number(text(OFFSET)),
                timestamp: timestamp.map(|timestamp| timestamp.to_utc()),
                group: text(GROUP),
            },
            // A count that cannot be read is taken for one that is used up: nothing goes round for ever.
            redrives: text(REDRIVES).map_or(0, |text| text.parse().unwrap_or(u32::MAX)),
            truncated_from: text(TRUNCATED).map(|text| text.parse().unwrap_or_default()),
            record,
        }
    }

    /// The headers that the record had where it was read.
    pub fn own_headers(&self) -> impl Iterator<Item = &(String, Option<bytes::Bytes>)> {
        self.record.headers.iter().filter(|(name, _)| !ADDED.contains(&name.as_str()))
    }

    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let headers = self.record.headers.iter().map(|(name, value)| name.len() + length(value) + 64);
        size_of::<Self>() + length(&self.record.key) + length(&self.record.value) + headers.sum::<usize>()
    }

    /// The record as it was, for where it came from, with one more redrive counted. It has its partition and
    /// its timestamp of then.
    pub(super) fn to_send_back(&self) -> Message {
        // rskafka cannot send a header without a value: it becomes an empty one.
        let own = self.own_headers().map(|(name, value)| {
            (name.clone(), value.as_ref().map(|value| value.to_vec()).unwrap_or_default())
        });
        let redrives = (REDRIVES.to_owned(), (self.redrives.saturating_add(1)).to_string().into_bytes());
        Message {
            key: self.record.key.as_ref().map(|key| key.to_vec()),
            value: self.record.value.as_ref().map(|value| value.to_vec()),
            headers: own.chain([redrives]).collect(),
            timestamp: self.source.timestamp.unwrap_or(self.record.timestamp),
            partition: self.source.partition,
        }
    }

    /// As [`DeadLetter::to_send_back`], for a topic that takes no records so old (`message.timestamp.before.max.ms`):
    /// with the time of now, and a header that says which it had.
    pub(super) fn to_send_back_as_of_now(&self) -> Message {
        let mut message = self.to_send_back();
        message.headers.push((TIMESTAMP.to_owned(), moment(message.timestamp).into_bytes()));
        message.timestamp = Utc::now();
        message
    }
}

/// A moment as headers and answers write it: ISO 8601 in UTC with milliseconds.
pub(super) fn moment(timestamp: DateTime<Utc>) -> String {
    timestamp.to_rfc3339_opts(SecondsFormat::Millis, true)
}
