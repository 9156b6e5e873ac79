//! A dead letter, as it is read back.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    BEHIND, ERROR, GROUP, OFFSET, ORIGIN, PARTITION, REDRIVES, SEQUENCE, TIMESTAMP, TOPIC, TRUNCATED,
    VERDICT, origin_of,
};
use crate::{Message, Record};

/// The headers that [`super::DlqPublisher`] adds.
const ADDED: [&str; 12] = [
    ERROR, TOPIC, PARTITION, OFFSET, TIMESTAMP, GROUP, TRUNCATED, REDRIVES, ORIGIN, SEQUENCE, BEHIND, VERDICT,
];

/// A record of a dead letter topic, with the content of its headers. Records of other programs are dead letters too: what
/// their headers lack is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The record in the dead letter topic. Its timestamp is the time at which it was sent there.
    pub record: Record,
    /// The reason why the record could not be processed; empty if unknown.
    pub reason: String,
    /// The place at which the record was read.
    pub source: DeadLetterSource,
    /// The number of times that it was redriven before.
    pub redrives: u32,
    /// The bytes of the original value, if only its beginning is here.
    pub truncated_from: Option<u64>,
}

/// The place at which a dead letter was read. A field that is `None` is unknown.
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
    /// Reads the headers of a record of the dead letter topic.
    pub fn read(record: Record) -> Self {
        let text =
            |name: &str| record.headers.last(name).map(|value| String::from_utf8_lossy(value).into_owned());
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
            // A count that cannot be parsed counts as used up: no dead letter circles for ever.
            redrives: text(REDRIVES).map_or(0, |text| text.parse().unwrap_or(u32::MAX)),
            truncated_from: text(TRUNCATED).map(|text| text.parse().unwrap_or_default()),
            record,
        }
    }

    /// The record's own headers, as they were in the source topic.
    pub fn own_headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Option<bytes::Bytes>)> {
        self.record.headers.iter().filter(|(name, _)| !ADDED.contains(&&**name))
    }

    /// The memory that it takes, in bytes, about.
    pub fn size(&self) -> usize {
        let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let headers = self.record.headers.iter().map(|(name, value)| name.len() + length(&value) + 64);
        size_of::<Self>() + length(&self.record.key) + length(&self.record.value) + headers.sum::<usize>()
    }

    /// Whether it is in a sequence ([`SEQUENCE`]): it has its place among others of its key.
    pub fn is_in_sequence(&self) -> bool {
        self.record.headers.contains(SEQUENCE)
    }

    /// Whether it is here only because it waits behind another of its key ([`BEHIND`]).
    pub fn waits(&self) -> bool {
        self.record.headers.contains(BEHIND)
    }

    /// The original record at its place in the source topic, with one more redrive if it was processed before.
    pub(super) fn original(&self) -> Record {
        let redrives = self.redrives.saturating_add((!self.waits()).into());
        let redrives = (redrives > 0).then(|| (Cow::from(REDRIVES), Some(Bytes::from(redrives.to_string()))));
        let origin = self.record.headers.last(ORIGIN);
        let origin = origin.map(|origin| (Cow::from(ORIGIN), Some(Bytes::copy_from_slice(origin))));
        Record {
            partition: self.source.partition.unwrap_or(self.record.partition),
            offset: self.source.offset.unwrap_or(self.record.offset),
            leader_epoch: None,
            timestamp: self.source.timestamp.unwrap_or(self.record.timestamp),
            key: self.record.key.clone(),
            value: self.record.value.clone(),
            headers: self.own_headers().chain(redrives).chain(origin).collect(),
        }
    }

    /// The original record, for its source topic: with its own headers, partition and timestamp, one more redrive, and its
    /// origin.
    pub(super) fn to_send_back(&self) -> Message {
        // A header without a value becomes an empty one: a [`Message`] has no null values.
        let own = self
            .own_headers()
            .map(|(name, value)| (name.into_owned(), value.map(|value| value.to_vec()).unwrap_or_default()));
        let redrives = (REDRIVES.to_owned(), (self.redrives.saturating_add(1)).to_string().into_bytes());
        let source = self.source.partition.zip(self.source.offset);
        let origin = origin_of(&self.record).or(source);
        let origin = origin
            .map(|(partition, offset)| (ORIGIN.to_owned(), format!("{partition}/{offset}").into_bytes()));
        Message {
            key: self.record.key.as_ref().map(|key| key.to_vec()),
            value: self.record.value.as_ref().map(|value| value.to_vec()),
            headers: own.chain([redrives]).chain(origin).collect(),
            timestamp: self.source.timestamp.unwrap_or(self.record.timestamp),
            partition: self.source.partition,
        }
    }

    /// As [`DeadLetter::to_send_back`], for a topic that refuses a timestamp so old (`message.timestamp.before.max.ms`):
    /// with the current time, and the original timestamp in a header.
    pub(super) fn to_send_back_as_of_now(&self) -> Message {
        let mut message = self.to_send_back();
        message.headers.push((TIMESTAMP.to_owned(), iso8601(message.timestamp).into_bytes()));
        message.timestamp = Utc::now();
        message
    }
}

/// ISO 8601 in UTC with milliseconds, as in headers and JSON.
pub(super) fn iso8601(timestamp: DateTime<Utc>) -> String {
    timestamp.to_rfc3339_opts(SecondsFormat::Millis, true)
}
