//! The schemas of events, with examples.

use highwater_web::{http::openapi::timestamp, invisible::visible};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::super::fields::MAX_CHARACTERS;

/// The id of the example.
pub(super) const ID: Uuid = uuid!("0190163d-8694-739b-aea5-966c26f8ad91");

/// A pattern for text that is not blank.
const VISIBLE: &str = visible!(r"[^\u0000-\u001f\u007f-\u009f");

/// The schema of a posted event, whose payload has either name.
pub(super) fn new_event([payload, other]: [&str; 2]) -> Value {
    let bounded =
        || json!({ "type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": VISIBLE });
    let is_given = json!({ "type": "object" });
    json!({
        "type": "object",
        "required": ["userId", "eventType"],
        "properties": {
            "userId": bounded(),
            "eventType": bounded(),
            payload: { "type": ["object", "null"], "description": "Anything; empty where it is absent." },
            other: { "type": ["object", "null"], "description": format!("Another name of `{payload}`; not both.") },
            "eventId": { "type": ["string", "null"], "format": "uuid", "description": "Made where it is absent." },
            "timestamp": { "type": ["string", "null"], "format": "date-time", "description": "Now, where it is absent." },
        },
        "not": { "required": [payload, other], "properties": { payload: is_given, other: is_given } },
    })
}

/// The schema of a stored event.
pub(in crate::activity) fn event(payload: &str) -> Value {
    json!({
        "type": "object",
        "required": ["eventId", "userId", "eventType", "timestamp", payload],
        "additionalProperties": false,
        "properties": {
            "eventId": { "type": "string", "format": "uuid" },
            "userId": { "type": "string" },
            "eventType": { "type": "string" },
            "timestamp": timestamp(&mut Default::default()),
            payload: { "type": "object", "description": "As it was posted." },
        },
    })
}

/// The schema of a CloudEvent.
pub(super) fn cloud_event() -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1, "description": "The eventId follows from it where it is no UUID." },
            "source": text(),
            "type": { "type": "string", "minLength": 1, "description": "The eventType." },
            "subject": { "type": "string", "minLength": 1, "description": "The userId." },
            "time": { "type": ["string", "null"], "format": "date-time", "description": "The timestamp." },
            "datacontenttype": { "type": ["string", "null"], "description": "That of `data`." },
            "data": { "description": "The payload." },
        },
        "additionalProperties": true,
    })
}

pub(super) fn cloud_events() -> Value {
    json!({ "type": "array", "items": cloud_event() })
}

pub(super) fn example_of_cloud_event() -> Value {
    json!({
        "specversion": "1.0", "id": ID, "source": "/shop", "type": "PRODUCT_VIEW", "subject": "ann",
        "time": "2026-05-01T10:00:00.000Z", "datacontenttype": "application/json", "data": { "sku": "A-1" },
    })
}

pub(super) fn example(payload: &str) -> Value {
    json!({ "eventId": ID, "userId": "ann", "eventType": "PRODUCT_VIEW", "timestamp": "2026-05-01T10:00:00.000Z",
        payload: { "sku": "A-1" } })
}
