//! The fields of an event, and their rules. Records have no bound of [`MAX_CHARACTERS`]; all else is the same as in requests.

use std::borrow::Cow;

use highwater_web::{invisible::is_blank, json, object::Object};
use serde_json::value::RawValue;

/// The longest userId and eventType of a request, in characters.
pub(crate) const MAX_CHARACTERS: usize = 256;

/// The known fields. `payload` and `metadata` are two names of one thing, on every route and in records: one route's
/// answers use the first name and the other's the second, and a client that mixes them up must not lose its data.
const FIELDS: [&str; 6] = ["userId", "eventType", "payload", "metadata", "eventId", "timestamp"];

/// The fields of an event, as they were written. Null counts as absent.
pub(super) struct EventFields<'a> {
    pub(super) user_id: Option<&'a str>,
    pub(super) event_type: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) timestamp: Option<&'a str>,
    payload: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    object: Object<'a, { FIELDS.len() }>,
}

impl<'a> EventFields<'a> {
    /// Reads an object.
    pub(super) fn parse(text: &'a str) -> serde_json::Result<Self> {
        let object = Object::parse(text, &FIELDS)?;
        let [user_id, event_type, payload, metadata, id, timestamp] = object.present();
        let [user_id, event_type, id, timestamp] =
            [user_id, event_type, id, timestamp].map(|value| value.map(RawValue::get));
        Ok(Self { user_id, event_type, id, timestamp, payload, metadata, object })
    }

    /// The names of the fields that are there more than once.
    pub(super) fn repeated(&self) -> impl Iterator<Item = &'static str> {
        self.object.repeated(&FIELDS)
    }

    /// The payload, by either name.
    ///
    /// # Errors
    ///
    /// The name of the field at fault, and the fault.
    pub(super) fn payload(&self) -> Result<Option<&'a RawValue>, (&'static str, &'static str)> {
        let (name, value) = match (self.payload, self.metadata) {
            (Some(_), Some(_)) => {
                return Err(("metadata", "is another name of payload: give one of the two"));
            }
            (None, Some(metadata)) => ("metadata", Some(metadata)),
            (payload, None) => ("payload", payload),
        };
        match value {
            Some(value) if !value.get().starts_with('{') => Err((name, "must be an object")),
            value => Ok(value),
        }
    }
}

/// A value, or its fault, such as `must be a string`.
pub(super) type Checked<T> = Result<T, Cow<'static, str>>;

/// The text of a JSON string.
pub(super) fn text(json: Option<&str>) -> Checked<Cow<'_, str>> {
    Ok(json::text(json.ok_or("is required")?)?)
}

/// A text that is not blank.
pub(super) fn visible_text(json: Option<&str>) -> Checked<Cow<'_, str>> {
    let text = text(json)?;
    if is_blank(&text) {
        return Err("must not be blank".into());
    }
    Ok(text)
}

/// A text that is not blank, of at most [`MAX_CHARACTERS`].
pub(super) fn bounded_text(json: Option<&str>) -> Checked<Cow<'_, str>> {
    let text = visible_text(json)?;
    // A character has at least one byte, so the count is seldom needed.
    if text.len() > MAX_CHARACTERS && text.chars().count() > MAX_CHARACTERS {
        return Err(format!("must have at most {MAX_CHARACTERS} characters").into());
    }
    Ok(text)
}

/// A text, where there is one, as something else.
pub(super) fn optional<T>(
    json: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Checked<Option<T>> {
    json.map(|json| Ok(read(&text(Some(json))?)?)).transpose()
}
