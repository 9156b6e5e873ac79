//! Pages of a listing that any instance continues: a cursor is the last entry's place, not an instance's own.

use std::{collections::BTreeSet, ops::Bound};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use crate::http::{self, Parameters, openapi::Operation};

/// The most entries of one page.
pub const MOST: usize = 1_000;
/// A page ends with the entry that brings it here: what an answer takes must not grow with what is asked for.
const MOST_BYTES: usize = 1 << 20;
/// How many entries a page has when nobody says.
const USUAL: usize = 100;

/// Where an entry stands: by the time it came to be, and where that is the same by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When it came to be.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

impl Position {
    /// What stands after that place, or all of it.
    pub fn after(all: &BTreeSet<Self>, place: Option<Self>) -> impl Iterator<Item = &Self> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        all.range((from, Bound::Unbounded))
    }

    /// A cursor as a client sees it.
    fn seal(self) -> String {
        format!("{:016x}{}", self.at.timestamp_millis(), self.id.simple())
    }

    fn open(cursor: &str) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "must be a cursor that a page ended with";
        let (at, id) = cursor.split_at_checked(16).ok_or(UNKNOWN)?;
        let at = i64::from_str_radix(at, 16).ok().and_then(DateTime::from_timestamp_millis).ok_or(UNKNOWN)?;
        let id = Uuid::try_parse(id).ok().filter(|_| id.len() == 32).ok_or(UNKNOWN)?;
        Ok(Self { at, id })
    }
}

/// Which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// How many entries at most.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Position>,
}

impl PageRequest {
    /// Reads `limit` and `cursor`.
    pub fn read(parameters: &mut Parameters<'_>) -> Self {
        let limit = parameters.parsed("limit", |text| {
            text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or("must be from 1 to 1000")
        });
        let after = parameters.parsed("cursor", Position::open);
        Self { limit: limit.unwrap_or(USUAL), after }
    }

    /// Describes what [`Page::read`] reads.
    pub fn describe(operation: Operation) -> Operation {
        operation
            .query(
                "limit",
                "A page of at most so many.",
                json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL }),
            )
            .query("cursor", "Where the page before ended, as its `next` says.", json!({ "type": "string" }))
            .invalid("limit", "must be from 1 to 1000")
    }

    /// Takes this page's entries, each with its place, and of so many `bytes`; and where the next page begins, if
    /// there is one.
    pub fn take<T>(
        self,
        entries: impl Iterator<Item = (Position, T)>,
        bytes: impl Fn(&T) -> usize,
    ) -> (Vec<T>, Option<String>) {
        let mut entries = entries.peekable();
        let (mut taken, mut last, mut size) = (Vec::new(), None, 0);
        while taken.len() < self.limit
            && size < MOST_BYTES
            && let Some((place, entry)) = entries.next()
        {
            size += bytes(&entry);
            taken.push(entry);
            last = Some(place);
        }
        let next = entries.peek().and(last).map(Position::seal);
        (taken, next)
    }

    /// 200: the entries taken, in `body`, with a `Link` to the next page where there is one. `filters` are the
    /// listing's other parameters, where they were given.
    pub fn answer(
        self,
        path: &str,
        filters: &[(&'static str, Option<String>)],
        body: &impl Serialize,
        next: Option<&str>,
    ) -> Response {
        let mut response = http::answer(StatusCode::OK, body);
        if let Some(next) = next {
            let given = filters.iter().filter_map(|(name, value)| Some((*name, value.clone()?)));
            let place = [("limit", self.limit.to_string()), ("cursor", next.to_owned())];
            if let Ok(link) = HeaderValue::try_from(http::next_link(path, given.chain(place))) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        response
    }
}
