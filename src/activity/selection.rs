//! The parameters of a listing: the filters of its path and query, and its page.

use std::time::Duration;

use highwater_web::{
    auth::{Grant, Reads},
    http::{Parameters, Problem, next_link},
    timestamp,
};

use warp::http::HeaderValue;

use super::cursor;
use crate::store::{Direction, EventQuery, Positions, Span};

/// The largest `limit` of a page.
pub(super) const MAX_LIMIT: usize = 10_000;
/// The order of processing, which is the default.
pub(super) const ASCENDING: &str = "asc";
/// The reverse order of processing.
pub(super) const DESCENDING: &str = "desc";
/// The longest `wait` for an event.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The filter that the path fixes.
#[derive(Debug)]
pub(super) enum ListingScope {
    All,
    User(String),
    Type(String),
}

/// The events that a request selects.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) query: EventQuery,
    /// The end of the previous page.
    pub(super) cursor: Option<Positions>,
    pub(super) limit: Option<usize>,
}

impl Selection {
    /// Reads the query string of a listing. It cannot repeat the path's user or type.
    pub(super) fn read(scope: &ListingScope, query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(query);
        let mut wanted = EventQuery {
            from: parameters.parsed("from", timestamp::parse),
            to: parameters.parsed("to", timestamp::parse),
            direction: parameters.parsed("order", direction).unwrap_or_default(),
            ..EventQuery::default()
        };
        wanted.user_id = match scope {
            ListingScope::User(user_id) => fixed(&mut parameters, "userId", user_id),
            _ => parameters.text("userId"),
        };
        wanted.event_type = match scope {
            ListingScope::Type(event_type) => fixed(&mut parameters, "eventType", event_type),
            _ => parameters.text("eventType"),
        };
        let limit = parameters.parsed("limit", |text| {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or("must be from 1 to 10000")
        });
        let cursor = parameters.parsed("cursor", cursor::decode);
        parameters.finish()?;
        Ok(Self { query: wanted, cursor, limit })
    }

    /// Reads the query string of a stream, and the id that a client had last: it counts where there is a cursor, too, since a
    /// browser connects again to the same address.
    pub(super) fn of_stream(query: &str, last_event_id: Option<&HeaderValue>) -> Result<Self, Problem> {
        const LAST_EVENT_ID: &str = "Last-Event-ID";

        let mut parameters = Parameters::new(query);
        let query = EventQuery {
            user_id: parameters.text("userId"),
            event_type: parameters.text("eventType"),
            from: parameters.parsed("from", timestamp::parse),
            to: parameters.parsed("to", timestamp::parse),
            direction: Direction::Forward,
        };
        let cursor = parameters.parsed("cursor", cursor::decode);
        for (name, message) in [
            ("order", "is not for a stream: its events come in the order of processing"),
            ("limit", "is not for a stream: it has no end"),
        ] {
            if parameters.has(name) {
                parameters.fault(name, message);
            }
        }
        let last = last_event_id.map(HeaderValue::as_bytes).filter(|id| !id.is_empty());
        let last =
            last.map(|id| std::str::from_utf8(id).map_err(|_| cursor::UNKNOWN).and_then(cursor::decode));
        let last = last.transpose().unwrap_or_else(|message| {
            parameters.fault(LAST_EVENT_ID, message);
            None
        });
        parameters.finish()?;
        Ok(Self { query, cursor: last.or(cursor), limit: None })
    }

    /// The part of it that the client may see.
    ///
    /// # Errors
    ///
    /// 403 where it names another user, 429 where that user was asked for too often.
    pub(super) fn within_grant(mut self, grant: &Grant) -> Result<Self, Problem> {
        if let Some(user) = &self.query.user_id {
            grant.check_read(user)?;
            grant.charge_request(user)?;
        } else if let Reads::Own(user) = grant.reads() {
            self.query.user_id = Some(user.to_owned());
        }
        Ok(self)
    }

    /// The part of a store that ends at `end` which this listing is of.
    pub(super) fn within(&self, end: Positions) -> Span {
        Span::before(end, self.cursor.as_ref(), self.query.direction)
    }

    /// The `Link` header to the next page (RFC 8288).
    pub(super) fn next_link(&self, scope: &ListingScope, path: &str, limit: usize, rest: &Span) -> String {
        let EventQuery { user_id, event_type, from, to, direction } = &self.query;
        let user_id = user_id.clone().filter(|_| !matches!(scope, ListingScope::User(_)));
        let event_type = event_type.clone().filter(|_| !matches!(scope, ListingScope::Type(_)));
        let parameters = [
            ("userId", user_id),
            ("eventType", event_type),
            ("from", from.map(|time| time.to_rfc3339())),
            ("to", to.map(|time| time.to_rfc3339())),
            ("order", (*direction == Direction::Backward).then(|| DESCENDING.to_owned())),
            ("limit", Some(limit.to_string())),
            ("cursor", Some(cursor::encode(&rest.boundary(*direction)))),
        ];
        next_link(path, parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

/// The parameter `wait`: `2s`, `500ms`, or a plain number of seconds.
pub(super) fn wait(query: &str) -> Result<Duration, Problem> {
    let mut parameters = Parameters::new(query);
    let wait = parameters.parsed("wait", |text| {
        duration(text)
            .filter(|wait| *wait <= MAX_WAIT)
            .ok_or("must be a time of at most 30 seconds, such as 2s or 500ms")
    });
    parameters.finish()?;
    Ok(wait.unwrap_or_default())
}

fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s').unwrap_or(text).parse().ok().map(Duration::from_secs)
}

fn direction(text: &str) -> Result<Direction, &'static str> {
    match text {
        ASCENDING => Ok(Direction::Forward),
        DESCENDING => Ok(Direction::Backward),
        _ => Err("must be asc or desc"),
    }
}

fn fixed(parameters: &mut Parameters<'_>, name: &'static str, value: &str) -> Option<String> {
    if parameters.has(name) {
        parameters.fault(name, "stands in the path already");
    }
    Some(value.to_owned())
}
