//! A dead letter as JSON.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::SecondsFormat;
use serde::Serialize;

use crate::messaging::dead_letter::{DeadLetter, Settled};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    partition: i32,
    offset: i64,
    timestamp: String,
    reason: &'a str,
    source: Source<'a>,
    redrives: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    redriven: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_from: Option<u64>,
    key: Option<Content<'a>>,
    value: Option<Content<'a>>,
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
struct Source<'a> {
    topic: Option<&'a str>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<String>,
    group: Option<&'a str>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    value: Option<Content<'a>>,
}

/// Bytes as what they are: text where they are UTF-8, else base64 (RFC 4648, section 4).
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    Text(&'a str),
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

/// Appends the letter as one line of JSON. Whether it was sent back is told where that is known.
pub(super) fn push(to: &mut Vec<u8>, letter: &DeadLetter, settled: Option<&BTreeMap<i32, Settled>>) {
    let moment = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (record, source) = (&letter.record, &letter.source);
    let redriven = |settled: &BTreeMap<i32, Settled>| {
        settled.get(&record.partition).is_some_and(|it| it.has(record.offset))
    };
    let shown = Shown {
        partition: record.partition,
        offset: record.offset,
        timestamp: moment(record.timestamp),
        reason: &letter.reason,
        source: Source {
            topic: source.topic.as_deref(),
            partition: source.partition,
            offset: source.offset,
            timestamp: source.timestamp.map(moment),
            group: source.group.as_deref(),
        },
        redrives: letter.redrives,
        redriven: settled.map(redriven),
        truncated_from: letter.truncated_from,
        key: Content::of(record.key.as_ref()),
        value: Content::of(record.value.as_ref()),
        headers: letter
            .own_headers()
            .map(|(name, value)| Header { name, value: Content::of(value.as_ref()) })
            .collect(),
    };
    let before = to.len();
    if let Err(error) = serde_json::to_writer(&mut *to, &shown) {
        // Strings and numbers always serialize, and a Vec takes them.
        log::error!("a dead letter cannot be shown: {error}");
        to.truncate(before);
        to.extend_from_slice(b"{}");
    }
}
