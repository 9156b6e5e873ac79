//! Events as clients see them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Details, Metadata};

/// An event, its halves joined.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Event")]
pub struct EventBody<'a> {
    /// The event's id.
    pub event_id: Uuid,
    /// The event's user.
    pub user_id: &'a str,
    /// The event's type.
    pub event_type: &'a str,
    /// The time at which it happened.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub timestamp: DateTime<Utc>,
    /// The details as they were posted; absent where none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub details: Option<&'a RawValue>,
    /// True for an event that was posted with details that are lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("const" = true))]
    pub details_missing: bool,
}

impl<'a> EventBody<'a> {
    /// The body of a row and of its details, if they were found.
    pub fn of(metadata: &'a Metadata, details: Option<&'a Details>) -> Self {
        Self {
            event_id: metadata.event_id,
            user_id: &metadata.user_id,
            event_type: &metadata.event_type,
            timestamp: metadata.timestamp,
            details: details.map(Details::json),
            details_missing: metadata.details_bytes > 0 && details.is_none(),
        }
    }
}

/// The answer of `POST /events`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Recorded")]
pub(super) struct RecordedBody {
    /// The event's id.
    pub(super) event_id: Uuid,
}
