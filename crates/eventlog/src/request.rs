//! The body of `POST /events`.

use std::borrow::Cow;

use chrono::{DateTime, Datelike as _, Utc};
use highwater_web::{
    fields::{Fields, VISIBLE_LINE, line},
    http::Problem,
    identity::uuid,
    invisible::visible,
    timestamp,
};
use schemars::JsonSchema;
use uuid::Uuid;

use super::Details;

/// The longest userId, in characters.
pub const LONGEST_USER: usize = 256;
/// The longest eventType, in characters: with a userId it must fit into the key of an index, which SQL Server bounds at
/// 1,700 bytes.
pub const LONGEST_TYPE: usize = 128;

/// `POST /events`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct NewLoggedEvent {
    /// The id, from a client that may post the event again.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// The event's user, without surrounding blanks, which SQL would not tell apart. None of its characters is `/`
    /// or `?`, and it is not `.` or `..`: a path would lose them on its way.
    #[schemars(length(min = 1, max = LONGEST_USER), regex(pattern = USER))]
    pub user_id: String,
    /// The event's type, without surrounding blanks.
    #[schemars(length(min = 1, max = LONGEST_TYPE), regex(pattern = VISIBLE_LINE))]
    pub event_type: String,
    /// The time at which it happened, in the years 0001 to 9999, to the millisecond; now, where it is absent.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime<Utc>>,
    /// Any JSON value, up to 400 KB with all other fields; `null` is a value, too.
    #[schemars(skip_serializing_if = "Option::is_none", with = "serde_json::Value")]
    pub details: Option<Details>,
}

/// The known fields; `payload` and `metadata` are refused.
const FIELDS: [&str; 7] = ["userId", "eventType", "eventId", "timestamp", "details", "payload", "metadata"];

impl NewLoggedEvent {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 with every fault.
    pub fn read(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body, max_depth, &FIELDS)?;
        let user_id = fields.text("userId", user_id);
        let event_type = fields.text("eventType", line(LONGEST_TYPE));
        let event_id = fields.optional("eventId", uuid);
        let timestamp = fields.optional("timestamp", timestamp);
        let details = fields.raw("details").map(Details::posted);
        // These are the activity service's names. Ignored like other unknown fields, they would be lost silently.
        for other in ["payload", "metadata"] {
            fields.without(other, "is called details here");
        }
        let read = user_id.zip(event_type);
        let read =
            read.map(|(user_id, event_type)| Self { event_id, user_id, event_type, timestamp, details });
        fields.finish(read)
    }
}

/// The rule of [`user_id`] without its length, as a regular expression of ECMA 262: a visible character that is no dot, or
/// two dots with something between them.
pub(super) const USER: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f/?]*(",
    visible!(r"[^\u0000-\u001f\u007f-\u009f/?."),
    r"|\.[^\u0000-\u001f\u007f-\u009f/?]+\.)[^\u0000-\u001f\u007f-\u009f/?]*$"
);

/// A userId: a line that a path transports unchanged.
///
/// API Gateway hands paths over decoded, and takes an encoded `/` or `?` for a plain one. Clients and proxies take `.` and
/// `..` for steps. An event that was posted for one user would be looked up under another.
///
/// # Errors
///
/// The requirement.
pub(super) fn user_id(text: &str) -> Result<String, Cow<'static, str>> {
    let user_id = line(LONGEST_USER)(text)?;
    if user_id.contains(['/', '?']) || matches!(user_id.as_str(), "." | "..") {
        return Err("must have no / and no ? in it, and be neither . nor ..".into());
    }
    Ok(user_id)
}

/// A timestamp that SQL Server can keep.
pub(super) fn timestamp(text: &str) -> Result<DateTime<Utc>, Cow<'static, str>> {
    let timestamp = timestamp::parse(text)?;
    if is_kept(&timestamp) { Ok(timestamp) } else { Err("must be in the years 0001 to 9999".into()) }
}

/// Whether SQL Server's DATETIME2 has this moment.
pub(super) fn is_kept(timestamp: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&timestamp.year())
}
