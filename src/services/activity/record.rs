//! A record's value as an event, or why it is none.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use super::timestamp;
use crate::{json::nests_deeper, messaging::Record, store::Event};

/// The deepest nesting of a value: what serde_json's parsers take, and so what readers of an answer can.
const MAX_DEPTH: usize = 128;
/// How much of a faulty value is quoted, in characters.
const QUOTED: usize = 60;

/// Why a record is no event: it can never be processed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(String);

/// The fields of the contract, read leniently: whatever else there is is not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow, default)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// Reads a record's value. Event types are whatever their producers call them; an event without a
/// timestamp happened when its record says.
pub fn parse(record: &Record) -> Result<Event, Malformed> {
    let value = record.value.as_deref().ok_or_else(|| malformed("the value is null"))?;
    let text = std::str::from_utf8(value).map_err(|error| malformed(format!("not UTF-8: {error}")))?;
    if nests_deeper(value, MAX_DEPTH) {
        return Err(malformed(format!("nests deeper than {MAX_DEPTH} levels")));
    }
    // A sequence would be taken for the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("not a JSON object"));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let id = Uuid::try_parse(&fields.event_id)
        .map_err(|_| malformed(format!("eventId is no UUID: {}", quoted(&fields.event_id))))?;
    if fields.user_id.trim().is_empty() {
        return Err(malformed("userId is blank"));
    }
    if fields.event_type.trim().is_empty() {
        return Err(malformed("eventType is blank"));
    }
    let happened = match &fields.timestamp {
        None => record.timestamp,
        Some(text) => timestamp::parse(text)
            .ok_or_else(|| malformed(format!("timestamp is not ISO 8601: {}", quoted(text))))?,
    };
    let payload = fields.payload.filter(|payload| payload.get() != "null");
    if payload.is_some_and(|payload| !payload.get().starts_with('{')) {
        return Err(malformed("payload is not an object"));
    }
    Ok(Event::new(id, &fields.user_id, &fields.event_type, happened, payload))
}

fn malformed(reason: impl Into<String>) -> Malformed {
    Malformed(reason.into())
}

/// The beginning of a text, with its control characters escaped.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED).collect();
    format!("{beginning:?}{}", if beginning.len() < text.len() { "…" } else { "" })
}
