//! A record's value as an event, or why it is none.

mod fields;

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use self::fields::Fields;
use crate::{
    json::nests_deeper,
    messaging::{Malformed, Record},
    services::timestamp,
    store::Event,
    unseen::is_blank,
};

/// The deepest nesting of a value: a request is not allowed more either, or its event would be acknowledged
/// and then set aside. An answer wraps a value in two levels more, and parsers such as serde_json's stop
/// at 128.
pub const MAX_DEPTH: usize = 100;
/// How much of a faulty value is quoted, in characters.
const QUOTED: usize = 60;

/// Reads a record's value; a reason why it is no event has no control characters. Event types are whatever their producers call them; an event without a
/// timestamp happened when its record says; unknown fields are not looked at. A field of the contract that
/// is there twice is a fault: readers would not agree on which of the two counts.
pub fn parse(record: &Record) -> Result<Event, Malformed> {
    let value = record.value.as_deref().ok_or_else(|| malformed("the value is null"))?;
    let text = std::str::from_utf8(value).map_err(|error| malformed(format!("not UTF-8: {error}")))?;
    if nests_deeper(value, MAX_DEPTH) {
        return Err(malformed(format!("nests deeper than {MAX_DEPTH} levels")));
    }
    let fields = Fields::read(text)?;

    let id = string("eventId", fields.event_id)?;
    // Hyphenated or simple; the crate would also take braces and URNs.
    let id = Some(&*id)
        .filter(|id| matches!(id.len(), 32 | 36))
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| malformed(format!("eventId is not a UUID: {}", quoted(&id))))?;
    let user_id = not_blank("userId", fields.user_id)?;
    let event_type = not_blank("eventType", fields.event_type)?;
    let happened = match present(fields.timestamp) {
        Some(raw) => {
            let text = string("timestamp", Some(raw))?;
            timestamp::parse(&text)
                .ok_or_else(|| malformed(format!("timestamp is not ISO 8601: {}", quoted(&text))))?
        }
        None => record.timestamp,
    };
    let (name, payload) = match (present(fields.payload), present(fields.metadata)) {
        (Some(_), Some(_)) => {
            return Err(malformed("payload and metadata are both there: two names of one thing"));
        }
        (None, Some(metadata)) => ("metadata", Some(metadata)),
        (payload, None) => ("payload", payload),
    };
    if payload.is_some_and(|payload| !payload.get().starts_with('{')) {
        return Err(malformed(format!("{name} is not an object")));
    }
    Ok(Event::new(id, &user_id, &event_type, happened, payload))
}

/// Null is as good as absent.
fn present(field: Option<&RawValue>) -> Option<&RawValue> {
    field.filter(|raw| raw.get() != "null")
}

fn not_blank<'a>(name: &str, field: Option<&'a RawValue>) -> Result<Cow<'a, str>, Malformed> {
    let text = string(name, field)?;
    if is_blank(&text) {
        return Err(malformed(format!("{name} is blank")));
    }
    Ok(text)
}

fn string<'a>(name: &str, field: Option<&'a RawValue>) -> Result<Cow<'a, str>, Malformed> {
    let raw = field.ok_or_else(|| malformed(format!("{name} is missing")))?.get();
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.ok_or_else(|| malformed(format!("{name} is not a string")))?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    // Escapes can be well formed and mean nothing: half of a surrogate pair.
    serde_json::from_str(raw)
        .map(Cow::Owned)
        .map_err(|_| malformed(format!("{name} has an escape that stands for nothing: {}", quoted(raw))))
}

fn malformed(reason: impl Into<String>) -> Malformed {
    Malformed(reason.into())
}

/// The beginning of a text, with its control characters escaped.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED).collect();
    format!("{beginning:?}{}", if beginning.len() < text.len() { "…" } else { "" })
}
