//! An event, and its two halves.

use std::fmt;

use chrono::{DateTime, Utc};
use highwater_web::json::push_compact;
use serde_json::value::RawValue;
use uuid::Uuid;

/// The largest item that DynamoDB keeps, in bytes, the names of its attributes included.
pub const MOST_ITEM_BYTES: usize = 400 * 1024;

/// The part of an event in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The event's id.
    pub event_id: Uuid,
    /// The event's user.
    pub user_id: String,
    /// The event's type.
    pub event_type: String,
    /// The time at which it happened, to the millisecond.
    pub timestamp: DateTime<Utc>,
    /// The length of its details in bytes; 0 for an event without.
    pub details_bytes: usize,
}

/// Any JSON value, as its original text without the blanks between its tokens.
///
/// It is text, and not a map of DynamoDB's: that has numbers of 38 digits and no order of keys, and would return another
/// value than the posted one. No request to DynamoDB needs to look inside.
#[derive(Clone)]
pub struct Details(Box<RawValue>);

impl Details {
    /// The details that a client posted.
    pub fn posted(json: &RawValue) -> Self {
        let mut compact = Vec::with_capacity(json.get().len());
        push_compact(&mut compact, json.get());
        // Valid JSON without its blanks is still valid JSON; otherwise it stays as it came.
        let compact = String::from_utf8(compact).ok().and_then(|text| RawValue::from_string(text).ok());
        Self(compact.unwrap_or_else(|| json.to_owned()))
    }

    /// Details read from the database; `None` for a text that is no JSON.
    pub fn kept(text: String) -> Option<Self> {
        RawValue::from_string(text).ok().map(Self)
    }

    /// The JSON.
    pub fn json(&self) -> &RawValue {
        &self.0
    }

    /// Its length in bytes; never 0.
    pub fn bytes(&self) -> usize {
        self.0.get().len()
    }
}

impl PartialEq for Details {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Details {}

/// Shows the length, not the content, which does not belong in a log.
impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Details({} bytes)", self.bytes())
    }
}

/// All of an event. DynamoDB keeps it, so the row can be made of it at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The content of its row.
    pub metadata: Metadata,
    /// Its details, if it has any.
    pub details: Option<Details>,
    /// The time of its first request, by the clock of the instance that got it.
    pub recorded_at: DateTime<Utc>,
}

impl LoggedEvent {
    /// The size of this event as an item in DynamoDB, in bytes: the names and values of its attributes, in UTF-8 (the
    /// developer guide's "DynamoDB item sizes and formats").
    pub fn item_bytes(&self) -> usize {
        /// The seven names (54), the id (36), two times (24 each) and the bucket (15).
        const REST: usize = 153;
        let Metadata { user_id, event_type, details_bytes, .. } = &self.metadata;
        REST + user_id.len() + event_type.len() + details_bytes
    }

    /// Whether both have the same content; the times of their requests make no difference.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.details == other.details
    }
}
