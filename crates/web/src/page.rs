//! Pages of a listing that any instance can continue: a cursor is the position of the last entry.

use std::{collections::BTreeSet, ops::Bound};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use crate::{
    cursor::{self, UNKNOWN},
    http::{self, Parameters, openapi::Operation},
};

/// The most entries of one page.
pub const MOST: usize = 1_000;
/// The size at which a page ends, after the entry that reaches it. An answer's memory does not grow with the request.
const MOST_BYTES: usize = 1 << 20;
/// The number of entries without a `limit`.
const USUAL: usize = 100;

/// The position of an entry: ordered by creation time, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The time of its creation.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

impl Position {
    /// The entries after that position, or all of them.
    pub fn after(all: &BTreeSet<Self>, place: Option<Self>) -> impl Iterator<Item = &Self> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        all.range((from, Bound::Unbounded))
    }

    /// The position as a client's cursor.
    fn seal(self) -> String {
        let (high, low) = self.id.as_u64_pair();
        cursor::encode([self.at.timestamp_millis().cast_unsigned(), high, low])
    }

    fn open(cursor: &str) -> Result<Self, &'static str> {
        let [at, high, low] = cursor::decode(cursor)?.try_into().map_err(|_| UNKNOWN)?;
        let at = DateTime::from_timestamp_millis(at.cast_signed()).ok_or(UNKNOWN)?;
        Ok(Self { at, id: Uuid::from_u64_pair(high, low) })
    }
}

/// The requested page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// The most entries.
    pub limit: usize,
    /// The last position of the page before.
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

    /// Describes the parameters that [`PageRequest::read`] reads.
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

    /// Takes this page's entries with their positions; `bytes` is the size of one. Returns them, and the cursor of the next
    /// page, if there is one.
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

    /// 200: the entries in `body`, with a `Link` to the next page, if there is one. `filters` are the given values of the
    /// listing's other parameters.
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
