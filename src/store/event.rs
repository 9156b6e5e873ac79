//! An event as it is stored, sent and answered: bytes that are made once.

use uuid::Uuid;

/// A user activity event: its JSON, made once, and what is asked of it often.
///
/// The JSON is `{"eventId":…,"userId":…,"eventType":…,"timestamp":…,"payload":…}` on one line, in this
/// order, with the payload's numbers and keys as they came: a record's value, and an element of an answer.
#[derive(Debug)]
pub struct Event {
    id: Uuid,
    timestamp_millis: i64,
    json: Box<[u8]>,
    /// Lengths of the two JSON strings, quotes included: with them every field is a slice of `json`.
    user_id_len: u32,
    event_type_len: u32,
}
