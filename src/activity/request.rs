//! Posted events: reading and validation.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use highwater_web::{
    http::{FieldError, Problem},
    identity,
    invisible::is_blank,
    object::Object,
    timestamp,
};
use serde_json::{error::Category, value::RawValue};
use uuid::Uuid;

use crate::store::ActivityEvent;

/// The longest userId and eventType, in characters.
pub(crate) const MAX_CHARACTERS: usize = 256;

/// The known fields. `payload` and `metadata` are two names of one thing, on every route and in records: one route's
/// answers use the first name and the other's the second, and a client that mixes them up must not lose its data.
const FIELDS: [&str; 6] = ["userId", "eventType", "payload", "metadata", "eventId", "timestamp"];

/// The event types that a route accepts.
#[derive(Debug, Clone, Copy)]
pub enum AllowedTypes<'a> {
    /// Only these, compared exactly.
    Only(&'a [String]),
    /// Any type that is not blank.
    Any,
}

impl AllowedTypes<'_> {
    /// The event type of that JSON, or its fault.
    pub(super) fn check<'v>(&self, json: Option<&'v str>) -> Checked<Cow<'v, str>> {
        match self {
            Self::Only(types) => one_of(json, types),
            Self::Any => bounded_text(json),
        }
    }
}

/// An event as a client posts it. The service adds an id and a timestamp where the client gave none.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// The eventId, from a client that may post the event again. An id is stored once.
    pub id: Option<Uuid>,
    /// The userId: not blank, at most 256 characters.
    pub user_id: Cow<'a, str>,
    /// The eventType: not blank, at most 256 characters, or one of those that the route accepts.
    pub event_type: Cow<'a, str>,
    /// The timestamp, where the client gave one.
    pub timestamp: Option<DateTime<Utc>>,
    /// A JSON object exactly as it was posted; `None` for an empty one.
    pub payload: Option<&'a RawValue>,
}

impl<'a> NewEvent<'a> {
    /// Reads an event from a JSON body. One problem names all faulty fields.
    pub fn read(body: &'a str, allowed: AllowedTypes<'_>) -> Result<Self, Problem> {
        let Object { values, repeated } =
            Object::parse(body, &FIELDS).map_err(|error| match error.classify() {
                Category::Data => Problem::bad_request("the body must be a JSON object"),
                _ => Problem::bad_request(format!("the body is not JSON: {error}")),
            })?;
        let mut faults = FieldFaults::default();
        for (name, _) in FIELDS.iter().zip(repeated).filter(|(_, is_repeated)| *is_repeated) {
            faults.note(*name, "is given more than once");
        }
        // Null counts as absent.
        let values = values.map(|value| value.filter(|value| value.get() != "null"));
        let [user_id, event_type, payload, metadata, id, timestamp] = values;
        let [user_id, event_type, id, timestamp] =
            [user_id, event_type, id, timestamp].map(|value| value.map(RawValue::get));
        let user_id = faults.check("userId", bounded_text(user_id));
        let event_type = faults.check("eventType", allowed.check(event_type));
        let payload = match (payload, metadata) {
            (Some(_), Some(_)) => {
                faults.check("metadata", Err("is another name of payload: give one of the two".into()))
            }
            (None, Some(_)) => faults.check("metadata", object(metadata)),
            (payload, None) => faults.check("payload", object(payload)),
        };
        let id = faults.check("eventId", optional(id, identity::uuid));
        let timestamp = faults.check("timestamp", optional(timestamp, timestamp::parse));
        let known = id.flatten().filter(|_| !faults.has("eventId"));
        match (user_id, event_type, payload, id, timestamp) {
            (Some(user_id), Some(event_type), Some(payload), Some(id), Some(timestamp))
                if faults.is_empty() =>
            {
                Ok(Self { id, user_id, event_type, timestamp, payload })
            }
            _ => Err(faults.into_problem(known)),
        }
    }
}

impl NewEvent<'_> {
    /// The event, with an id and a timestamp that are made where the client gave none.
    pub fn into_event(self) -> ActivityEvent {
        let id = self.id.unwrap_or_else(Uuid::new_v4);
        let timestamp = self.timestamp.unwrap_or_else(Utc::now);
        ActivityEvent::new(id, &self.user_id, &self.event_type, timestamp, self.payload)
    }
}

/// The faults found so far, one per field.
#[derive(Default)]
pub(super) struct FieldFaults(Vec<FieldError>);

impl FieldFaults {
    pub(super) fn note(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) {
        let field = field.into();
        if !self.has(&field) {
            self.0.push(FieldError::new(field, message));
        }
    }

    pub(super) fn check<T>(&mut self, field: &'static str, checked: Checked<T>) -> Option<T> {
        checked.map_err(|message| self.note(field, message)).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|fault| fault.field == field)
    }

    /// One problem that names them all, with the event's id where that is known.
    pub(super) fn into_problem(self, id: Option<Uuid>) -> Problem {
        let problem = Problem::invalid(self.0);
        match id {
            Some(id) => of_event(id, problem),
            None => problem,
        }
    }
}

/// The member of a problem that has the event's id.
pub(super) const EVENT_ID: &str = "eventId";

/// The problem as that of the event with this id.
pub(super) fn of_event(id: Uuid, problem: Problem) -> Problem {
    problem.with_member(EVENT_ID, id.to_string())
}

/// A value, or its fault, such as `must be a string`.
pub(super) type Checked<T> = Result<T, Cow<'static, str>>;

/// The text of a JSON string.
pub(super) fn text(json: Option<&str>) -> Checked<Cow<'_, str>> {
    let json = json.ok_or("is required")?;
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err("must be a string".into());
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).map(Cow::Owned).map_err(|_| "has an escape that is no character".into())
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

fn one_of<'a>(json: Option<&'a str>, types: &[String]) -> Checked<Cow<'a, str>> {
    let text = text(json)?;
    if types.iter().any(|known| *known == text) {
        return Ok(text);
    }
    Err(format!("must be one of {}", types.join(", ")).into())
}

fn object(value: Option<&RawValue>) -> Checked<Option<&RawValue>> {
    match value {
        Some(value) if !value.get().starts_with('{') => Err("must be an object".into()),
        value => Ok(value),
    }
}

/// A text, where there is one, as something else.
pub(super) fn optional<T>(
    json: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Checked<Option<T>> {
    json.map(|json| Ok(read(&text(Some(json))?)?)).transpose()
}
