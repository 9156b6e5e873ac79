//! A dead letter as JSON.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use highwater_kafka::dead_letter::{DeadLetter, RedriveProgress};
use schemars::JsonSchema;
use serde::Serialize;

use crate::timestamp;

/// A record that could not be processed, and why.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetter")]
pub(super) struct DeadLetterBody<'a> {
    /// Its partition in the dead letter topic.
    partition: i32,
    /// Its offset there.
    offset: i64,
    /// The time at which it was set aside.
    #[schemars(schema_with = "crate::http::openapi::timestamp")]
    timestamp: String,
    /// The reason why it could not be processed.
    reason: &'a str,
    source: Source<'a>,
    /// The number of times that it was sent back before it came here.
    redrives: u32,
    /// Whether it was sent back since; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    redriven: Option<bool>,
    /// The length of its whole value in bytes, where only the beginning is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_from: Option<u64>,
    /// The record's key.
    key: Option<Content<'a>>,
    /// The record's value.
    value: Option<Content<'a>>,
    /// The record's own headers.
    headers: Vec<Header<'a>>,
}

/// The place at which a dead letter was read. A member that is null is unknown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterSource")]
struct Source<'a> {
    /// The topic.
    topic: Option<&'a str>,
    /// The partition there.
    partition: Option<i32>,
    /// The offset there.
    offset: Option<i64>,
    /// The record's timestamp there.
    timestamp: Option<String>,
    /// The group that could not process it.
    group: Option<&'a str>,
}

/// A header of a record.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RecordHeader")]
struct Header<'a> {
    /// Its name.
    name: &'a str,
    /// Its value.
    value: Option<Content<'a>>,
}

/// Bytes as what they are: text where they are UTF-8, else base64 (RFC 4648, section 4).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "RecordBytes")]
enum Content<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Anything else.
    Base64(String),
}

impl<'a> Content<'a> {
    fn of(bytes: Option<&'a Bytes>) -> Option<Self> {
        bytes.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        })
    }
}

/// Appends the dead letter as one line of JSON, with `redriven` where that is known.
pub(super) fn push(
    to: &mut Vec<u8>,
    dead_letter: &DeadLetter,
    progress: Option<&BTreeMap<i32, RedriveProgress>>,
) {
    let written = |time: DateTime<Utc>| timestamp::format(&time);
    let (record, source) = (&dead_letter.record, &dead_letter.source);
    let redriven = |progress: &BTreeMap<i32, RedriveProgress>| {
        progress.get(&record.partition).is_some_and(|it| it.contains(record.offset))
    };
    let own: Vec<_> = dead_letter.own_headers().collect();
    let shown = DeadLetterBody {
        partition: record.partition,
        offset: record.offset,
        timestamp: written(record.timestamp),
        reason: &dead_letter.reason,
        source: Source {
            topic: source.topic.as_deref(),
            partition: source.partition,
            offset: source.offset,
            timestamp: source.timestamp.map(written),
            group: source.group.as_deref(),
        },
        redrives: dead_letter.redrives,
        redriven: progress.map(redriven),
        truncated_from: dead_letter.truncated_from,
        key: Content::of(record.key.as_ref()),
        value: Content::of(record.value.as_ref()),
        headers: own
            .iter()
            .map(|(name, value)| Header { name, value: Content::of(value.as_ref()) })
            .collect(),
    };
    let before = to.len();
    if let Err(error) = serde_json::to_writer(&mut *to, &shown) {
        // Strings and numbers always serialize, and a Vec takes them.
        log::error!("a dead letter cannot be serialized: {error}");
        to.truncate(before);
        to.extend_from_slice(b"{}");
    }
}
