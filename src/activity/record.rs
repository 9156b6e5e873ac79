//! A record's value as an event, or why it is none.

mod registry;

use std::fmt::Display;

use highwater_kafka::{Malformed, Record};
use highwater_web::{
    identity,
    invisible::is_blank,
    json::{self, byte_order_mark, nests_deeper},
    object::REPEATED,
    timestamp,
};
use serde::de::IgnoredAny;

use super::fields::{self, EventFields, visible_text};
use crate::store::ActivityEvent;

/// The deepest nesting of a value: a request is not allowed more either, or its event would be acknowledged
/// and then set aside. An answer wraps a value in two levels more, and parsers such as serde_json's stop
/// at 128.
pub const MAX_DEPTH: usize = 100;
/// The most of a faulty value that is quoted, in characters.
const QUOTED: usize = 60;

/// Reads a record's value; a reason why it is no event has no control characters. Event types are whatever their
/// producers call them; an event without a timestamp happened when its record says; unknown fields are not looked at. A
/// field of the contract that is there twice is a fault: readers would not agree on which of the two counts. The
/// prefix that a schema registry's serializer puts before JSON is passed over.
pub fn parse(record: &Record) -> Result<ActivityEvent, Malformed> {
    let value = record.value.as_deref().ok_or_else(|| malformed("the value is null"))?;
    match registry::schema(value) {
        None => parse_json(record, value),
        Some((schema, payload)) if payload.trim_ascii_start().starts_with(b"{") => {
            parse_json(record, payload).map_err(|Malformed(fault)| {
                malformed(format!("JSON with schema {schema} of a schema registry: {fault}"))
            })
        }
        Some((schema, _)) => Err(malformed(format!(
            "begins with a schema registry's prefix (schema {schema}): Avro or Protobuf, of which neither is read; JSON \
             is, with the prefix and without"
        ))),
    }
}

fn parse_json(record: &Record, value: &[u8]) -> Result<ActivityEvent, Malformed> {
    if let Some(mark) = byte_order_mark(value) {
        return Err(malformed(format!("begins with {mark}, and JSON has none: write UTF-8 without it")));
    }
    if value.starts_with(registry::AVRO_FILE) {
        return Err(malformed("begins as an Avro object container file: only JSON is read"));
    }
    let text =
        simdutf8::compat::from_utf8(value).map_err(|error| malformed(format!("not UTF-8: {error}")))?;
    if nests_deeper(value, MAX_DEPTH) {
        return Err(malformed(format!("nests deeper than {MAX_DEPTH} levels")));
    }
    // Most events are this service's own.
    let own = ActivityEvent::as_written(text);
    if let Some(own) = own.filter(|own| {
        !identity::is_none(own.id()) && !is_blank(&own.user_id()) && !is_blank(&own.event_type())
    }) {
        return Ok(own);
    }
    let event = read(text)?;
    let id = fields::text(event.id).map_err(faulty("eventId"))?;
    let id = identity::uuid(&id).map_err(|fault| malformed(format!("eventId {fault}: {}", quoted(&id))))?;
    let user_id = visible_text(event.user_id).map_err(faulty("userId"))?;
    let event_type = visible_text(event.event_type).map_err(faulty("eventType"))?;
    let happened = match event.timestamp {
        Some(json) => {
            if let Some(jackson) = written_by_jackson(json) {
                return Err(malformed(jackson));
            }
            let text = json::text(json).map_err(faulty("timestamp"))?;
            timestamp::parse(&text)
                .map_err(|fault| malformed(format!("timestamp {fault}: {}", quoted(&text))))?
        }
        None => record.timestamp,
    };
    let payload = event.payload().map_err(|(name, fault)| faulty(name)(fault))?;
    Ok(ActivityEvent::new(id, &user_id, &event_type, happened, payload))
}

/// Reads the contract's fields, each of which is there once.
fn read(text: &str) -> Result<EventFields<'_>, Malformed> {
    let not_json = |error| malformed(format!("not JSON: {error}"));
    // Checked beforehand: the parser's own complaint would quote a value of any length.
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        return Err(malformed("not a JSON object"));
    }
    let fields = EventFields::parse(text).map_err(not_json)?;
    if let Some(name) = fields.repeated().next() {
        return Err(faulty(name)(REPEATED));
    }
    Ok(fields)
}

/// Says that fault of the field with this name.
fn faulty<F: Display>(name: &'static str) -> impl FnOnce(F) -> Malformed {
    move |fault| malformed(format!("{name} {fault}"))
}

/// The fault of a time that is a number or an array, as Jackson writes it unless it is told otherwise. A number is not
/// read: it may count seconds or milliseconds, and Jackson itself writes both.
fn written_by_jackson(json: &str) -> Option<String> {
    let kind = match json.as_bytes().first()? {
        b'-' | b'0'..=b'9' => "a number",
        b'[' => "an array",
        _ => return None,
    };
    Some(format!(
        "timestamp is {kind}: {}; it must be ISO 8601 text (in Jackson, disable WRITE_DATES_AS_TIMESTAMPS)",
        quoted(json)
    ))
}

fn malformed(reason: impl Into<String>) -> Malformed {
    Malformed(reason.into())
}

/// The beginning of a text, with its control characters escaped.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED).collect();
    format!("{beginning:?}{}", if beginning.len() < text.len() { "…" } else { "" })
}
