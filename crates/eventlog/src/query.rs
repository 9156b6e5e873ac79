//! The query of a listing.

use chrono::{DateTime, Utc};
use highwater_web::{
    fields::line,
    http::{FieldError, Parameters, Problem, next_link, segment},
    timestamp,
};
use warp::http::HeaderValue;

use super::{ListingPosition, request};

/// The most events of one page.
pub const MOST: usize = 500;

/// A user's events. A filter that is `None` selects all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingQuery {
    /// The user.
    pub user_id: String,
    /// The type, compared exactly.
    pub event_type: Option<String>,
    /// The first timestamp.
    pub from: Option<DateTime<Utc>>,
    /// The timestamp before which events are.
    pub to: Option<DateTime<Utc>>,
    /// The most events; `None` for as many as fit into one answer.
    pub limit: Option<usize>,
    /// The last position of the page before.
    pub after: Option<ListingPosition>,
}

impl ListingQuery {
    /// All events of a user.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self { user_id: user_id.into(), event_type: None, from: None, to: None, limit: None, after: None }
    }

    /// Reads a segment of a path, and a query.
    ///
    /// # Errors
    ///
    /// 400 with every fault of the query.
    pub(super) fn read(user_id: &str, query: &str) -> Result<Self, Problem> {
        let user_id = self::user_id(user_id)?;
        let mut parameters = Parameters::new(query);
        let event_type = parameters.text("eventType");
        let event_type = event_type.and_then(|text| match line(request::LONGEST_TYPE)(&text) {
            Ok(event_type) => Some(event_type),
            Err(message) => {
                parameters.fault("eventType", message);
                None
            }
        });
        let from = parameters.parsed("from", request::timestamp);
        let to = parameters.parsed("to", request::timestamp);
        let limit = parameters.parsed("limit", |text| {
            text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or("must be from 1 to 500")
        });
        let after = parameters.parsed("cursor", ListingPosition::open);
        parameters.finish()?;
        Ok(Self { user_id, event_type, from, to, limit, after })
    }

    /// The `Link` header of the next page.
    pub(super) fn link(&self, path: &str, next: ListingPosition) -> Option<HeaderValue> {
        let parameters = [
            ("eventType", self.event_type.clone()),
            ("from", self.from.as_ref().map(timestamp::format)),
            ("to", self.to.as_ref().map(timestamp::format)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", Some(next.seal())),
        ];
        let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        HeaderValue::try_from(next_link(path, given)).ok()
    }
}

/// A user's id in a path. Blanks around it do not count, as in a posted event.
pub(super) fn user_id(raw: &str) -> Result<String, Problem> {
    let fault = |message| Problem::invalid(vec![FieldError::new("userId", message)]);
    request::user_id(&segment("userId", raw)?).map_err(fault)
}
