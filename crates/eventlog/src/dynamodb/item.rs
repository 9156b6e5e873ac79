//! An event as an item. [`LoggedEvent::item_bytes`] counts its size, and knows these names.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{Bucket, Details, LoggedEvent, Metadata, request::is_kept};

/// The table's key.
pub(super) const EVENT_ID: &str = "eventId";
/// The index's hash key.
pub(super) const BUCKET: &str = "bucket";
/// The index's range key, which sorts by time.
pub(super) const RECORDED_AT: &str = "recordedAt";
/// The details as JSON text; absent for an event without details.
pub(super) const DETAILS: &str = "details";
const USER_ID: &str = "userId";
const EVENT_TYPE: &str = "eventType";
const TIMESTAMP: &str = "timestamp";

type Item = HashMap<String, AttributeValue>;

/// The item of an event.
pub(super) fn of(event: &LoggedEvent) -> Item {
    let Metadata { event_id, user_id, event_type, timestamp: happened_at, .. } = &event.metadata;
    let details = event.details.as_ref().map(|details| (DETAILS, details.json().get().to_owned()));
    let texts = [
        (EVENT_ID, event_id.to_string()),
        (USER_ID, user_id.clone()),
        (EVENT_TYPE, event_type.clone()),
        (TIMESTAMP, timestamp(*happened_at)),
        (RECORDED_AT, timestamp(event.recorded_at)),
        (BUCKET, Bucket::of(event).to_string()),
    ];
    let attributes = texts.into_iter().chain(details);
    attributes.map(|(name, text)| (name.to_owned(), AttributeValue::S(text))).collect()
}

/// The event of an item; `None` for any other item.
pub(super) fn read(item: &Item) -> Option<LoggedEvent> {
    let details = match item.get(DETAILS) {
        None => None,
        Some(AttributeValue::S(text)) => Some(Details::kept(text.clone())?),
        Some(_) => return None,
    };
    let metadata = Metadata {
        event_id: id(item)?,
        user_id: text(item, USER_ID)?.to_owned(),
        event_type: text(item, EVENT_TYPE)?.to_owned(),
        timestamp: parsed(text(item, TIMESTAMP)?).filter(is_kept)?,
        details_bytes: details.as_ref().map_or(0, Details::bytes),
    };
    Some(LoggedEvent { metadata, details, recorded_at: parsed(text(item, RECORDED_AT)?)? })
}

/// An item's id.
pub(super) fn id(item: &Item) -> Option<Uuid> {
    Uuid::try_parse(text(item, EVENT_ID)?).ok()
}

/// An attribute with a text.
pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// A timestamp as an attribute: to the millisecond, always of the same length.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    highwater_web::timestamp::format(&time)
}

fn parsed(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|timestamp| timestamp.to_utc())
}
