//! Listing: the rows from SQL, joined with their details from DynamoDB.
//!
//! A row has the length of its details, so no more details are read than an answer has room for. Missing details are told as
//! missing: one lost item must not hide all other events of a user.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use highwater_web::Backoff;
use highwater_web::http::Problem;
use uuid::Uuid;
use warp::http::StatusCode;

use super::{
    DatabaseError, DatabaseResult, Details, EventBody, EventLog, Front, ListingPosition, ListingQuery, Row,
    counts::increment,
    database_health::{Database, reason},
    deadline::Deadline,
    recording::RETRY_AFTER,
};

/// The most bytes of an answer.
pub const MOST_BYTES: usize = 5_000_000;
/// The most bytes of an answer as a string within JSON, where each quote takes two bytes. A Lambda function returns it so,
/// and AWS takes 6 MiB of that, headers included.
pub const MOST_ESCAPED_BYTES: usize = 6_000_000;
/// The number of rows of one query.
const CHUNK: usize = 500;
/// The most keys of one BatchGetItem.
const BATCH: usize = 100;
/// The number of batches at the same time.
const AT_ONCE: usize = 4;
/// The most bytes of an event's JSON beside its texts and details.
const FRAME: usize = 200;

/// A page of a user's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// A JSON array.
    pub(super) body: Vec<u8>,
    /// The beginning of the next page.
    pub(super) next: Option<ListingPosition>,
}

impl EventLog {
    /// A page of the requested events.
    ///
    /// # Errors
    ///
    /// 503.
    pub(super) async fn list(&self, query: &ListingQuery) -> Result<Listing, Problem> {
        let deadline = Deadline::after(self.limits.timeout);
        let mut page = PageBody::new(self.limits.front);
        let mut after = query.after;
        loop {
            let left = query.limit.map(|limit| limit - page.events);
            let wanted = left.unwrap_or(CHUNK).min(CHUNK);
            // One row more than wanted shows whether there are more.
            let ask = || self.metadata.list(query, after, wanted + 1);
            let rows = self.ask(deadline, Database::Metadata, ask).await;
            let mut rows = rows.map_err(|error| unread(Database::Metadata, &error))?;
            let has_more = rows.len() > wanted;
            rows.truncate(wanted);
            let fitting = page.fitting(&rows);
            let is_cut = fitting < rows.len();
            rows.truncate(fitting);
            let details = self.details_of(deadline, &rows).await?;
            for row in &rows {
                if !page.push(&self.shown(row, details.get(&row.metadata.event_id)))? {
                    return Ok(page.ended(after));
                }
                after = Some(row.position());
            }
            if is_cut || (has_more && query.limit == Some(page.events)) {
                return Ok(page.ended(after));
            }
            if !has_more {
                return Ok(page.ended(None));
            }
        }
    }

    /// A user's event as JSON; `None` where it does not exist.
    ///
    /// # Errors
    ///
    /// 503.
    pub(super) async fn find(&self, user_id: &str, event_id: Uuid) -> Result<Option<Vec<u8>>, Problem> {
        let deadline = Deadline::after(self.limits.timeout);
        let row = self.ask(deadline, Database::Metadata, || self.metadata.find(user_id, event_id)).await;
        let Some(row) = row.map_err(|error| unread(Database::Metadata, &error))? else { return Ok(None) };
        let details = self.details_of(deadline, std::slice::from_ref(&row)).await?;
        json(&self.shown(&row, details.get(&event_id))).map(Some)
    }

    fn shown<'a>(&self, row: &'a Row, details: Option<&'a Details>) -> EventBody<'a> {
        let shown = EventBody::of(&row.metadata, details);
        if shown.details_missing {
            increment(&self.counts.details_missing);
            log::warn!(event_id:% = shown.event_id; "an event's details are missing from DynamoDB");
        }
        shown
    }

    /// The existing details of these rows.
    async fn details_of(&self, deadline: Deadline, rows: &[Row]) -> Result<HashMap<Uuid, Details>, Problem> {
        let with_details = rows.iter().filter(|row| row.metadata.details_bytes > 0);
        let ids: Vec<Uuid> = with_details.map(|row| row.metadata.event_id).collect();
        let batches: Vec<_> = ids.chunks(BATCH).map(|batch| self.batch(deadline, batch.to_vec())).collect();
        let found = stream::iter(batches).buffer_unordered(AT_ONCE).try_concat().await;
        found.map_err(|error| unread(Database::Details, &error))
    }

    /// One batch, repeated until all of it is processed.
    async fn batch(&self, deadline: Deadline, mut ids: Vec<Uuid>) -> DatabaseResult<HashMap<Uuid, Details>> {
        let mut all = HashMap::with_capacity(ids.len());
        let mut backoff = Backoff::new();
        loop {
            let found = self.ask(deadline, Database::Details, || self.details.details(&ids)).await?;
            let is_further = !found.details.is_empty();
            all.extend(found.details);
            if found.unprocessed.is_empty() {
                return Ok(all);
            }
            ids = found.unprocessed;
            if is_further {
                backoff = Backoff::new();
            } else if !deadline.pause(&mut backoff).await {
                return Err(DatabaseError::Throttled("keys are left unprocessed".to_owned()));
            }
        }
    }
}

/// A growing answer.
#[derive(Debug)]
struct PageBody {
    body: Vec<u8>,
    /// The length of the body as a string within JSON, without its quotes.
    escaped: usize,
    /// The bound of that length.
    most_escaped: usize,
    events: usize,
}

impl PageBody {
    fn new(front: Front) -> Self {
        let most_escaped = match front {
            Front::Server => usize::MAX,
            Front::Lambda => MOST_ESCAPED_BYTES,
        };
        Self { body: vec![b'['], escaped: 2, most_escaped, events: 0 }
    }

    /// The number of these rows that fit, by their sizes; at least one event is always shown.
    fn fitting(&self, rows: &[Row]) -> usize {
        let mut bytes = self.body.len();
        let fitting = rows.iter().take_while(|row| {
            let metadata = &row.metadata;
            bytes += metadata.user_id.len() + metadata.event_type.len() + metadata.details_bytes + FRAME;
            bytes <= MOST_BYTES
        });
        fitting.count().max(usize::from(self.events == 0)).min(rows.len())
    }

    /// Adds an event if it fits; returns whether it did.
    fn push(&mut self, event: &EventBody<'_>) -> Result<bool, Problem> {
        let json = json(event)?;
        let escaped = json.len() + memchr::memchr2_iter(b'"', b'\\', &json).count() + 1;
        let is_full =
            self.body.len() + json.len() + 2 > MOST_BYTES || self.escaped + escaped > self.most_escaped;
        if is_full && self.events > 0 {
            return Ok(false);
        }
        if self.events > 0 {
            self.body.push(b',');
        }
        self.body.extend_from_slice(&json);
        self.escaped += escaped;
        self.events += 1;
        Ok(true)
    }

    fn ended(mut self, next: Option<ListingPosition>) -> Listing {
        self.body.push(b']');
        Listing { body: self.body, next }
    }
}

fn json(event: &EventBody<'_>) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(event).map_err(|error| {
        log::error!("an event cannot be written down: {error}");
        Problem::internal()
    })
}

/// 503.
pub(super) fn unread(database: Database, error: &DatabaseError) -> Problem {
    Problem::unavailable(reason(database, error), RETRY_AFTER)
}

/// 404.
pub(super) fn unknown(user_id: &str, event_id: Uuid) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("{user_id} has no event {event_id}"))
}
