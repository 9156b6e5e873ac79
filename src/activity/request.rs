//! Posted events: reading and validation.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use highwater_web::{http::Problem, identity, object::REPEATED, timestamp};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    faults::FieldFaults,
    fields::{Checked, EventFields, bounded_text, optional, text},
};
use crate::store::ActivityEvent;

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
        let fields = EventFields::parse(body).map_err(|error| Problem::unreadable(&error))?;
        let mut faults = FieldFaults::default();
        fields.repeated().for_each(|name| faults.note(name, REPEATED));
        let user_id = faults.check("userId", bounded_text(fields.user_id));
        let event_type = faults.check("eventType", allowed.check(fields.event_type));
        let payload = fields.payload().map_err(|(name, fault)| faults.note(name, fault)).ok();
        let id = faults.check("eventId", optional(fields.id, identity::uuid));
        let timestamp = faults.check("timestamp", optional(fields.timestamp, timestamp::parse));
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

fn one_of<'a>(json: Option<&'a str>, types: &[String]) -> Checked<Cow<'a, str>> {
    let text = text(json)?;
    if types.iter().any(|known| *known == text) {
        return Ok(text);
    }
    Err(format!("must be one of {}", types.join(", ")).into())
}
