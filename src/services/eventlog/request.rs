//! What a client posts.

use std::borrow::Cow;

use chrono::{DateTime, Datelike as _, Utc};
use schemars::JsonSchema;
use uuid::Uuid;

use super::Details;
use crate::{
    http::Problem,
    services::{
        fields::{Fields, VISIBLE_LINE, line, uuid},
        timestamp,
    },
};

/// The longest userId, in characters.
pub const LONGEST_USER: usize = 256;
/// The longest eventType, in characters: with a userId it must fit into the key of an index, which SQL Server
/// bounds at 1,700 bytes.
pub const LONGEST_TYPE: usize = 128;

/// `POST /events`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct NewEvent {
    /// Given by a client that may post the event again.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// Whose event it is; without surrounding blanks, which SQL would not tell apart.
    #[schemars(length(min = 1, max = LONGEST_USER), regex(pattern = VISIBLE_LINE))]
    pub user_id: String,
    /// What happened; without surrounding blanks.
    #[schemars(length(min = 1, max = LONGEST_TYPE), regex(pattern = VISIBLE_LINE))]
    pub event_type: String,
    /// When it happened, in the years 0001 to 9999, to the millisecond; now, where it is absent.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime<Utc>>,
    /// What else there is to say, up to 400 KB with all other fields; `null` is a value, too.
    #[schemars(skip_serializing_if = "Option::is_none", with = "serde_json::Value")]
    pub details: Option<Details>,
}

impl NewEvent {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 with every fault.
    pub fn read(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        let mut fields = Fields::of(body, max_depth)?;
        let user_id = fields.text("userId", line(LONGEST_USER));
        let event_type = fields.text("eventType", line(LONGEST_TYPE));
        let event_id = fields.optional("eventId", uuid);
        let timestamp = fields.optional("timestamp", moment);
        let details = fields.raw("details").map(Details::posted);
        let read = user_id.zip(event_type);
        let read =
            read.map(|(user_id, event_type)| Self { event_id, user_id, event_type, timestamp, details });
        fields.finish(read)
    }
}

/// A moment that SQL Server can keep.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, Cow<'static, str>> {
    let moment = timestamp::parse(text)
        .ok_or("must be an ISO 8601 date and time, such as 2024-05-01T10:00:00.000Z")?;
    if is_kept(&moment) { Ok(moment) } else { Err("must be in the years 0001 to 9999".into()) }
}

/// Whether SQL Server's DATETIME2 has that moment.
pub(super) fn is_kept(moment: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&moment.year())
}
