//! The interfaces of the two databases: SQL Server and DynamoDB.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Details, ListingPosition, ListingQuery, LoggedEvent, Metadata};

/// The result of a call to a database.
pub type DatabaseResult<T> = Result<T, DatabaseError>;

/// The error of a database. The text is for the log, never for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The database cannot be reached, or breaks off: the request may have been carried out.
    #[error("away: {0}")]
    Away(String),
    /// The database has too much to do, and did nothing. A later request may succeed.
    #[error("throttled: {0}")]
    Throttled(String),
    /// The database did not answer in time: the request may have been carried out.
    #[error("no answer in time")]
    Late,
    /// The database refuses every such request: a right, a table or a setting is missing.
    #[error("refused: {0}")]
    Refused(String),
    /// The database refuses this value every time, and not others.
    #[error("does not take this one: {0}")]
    Invalid(String),
    /// The value is larger than the database allows.
    #[error("too large")]
    TooLarge,
}

impl DatabaseError {
    /// Whether nothing was done for sure.
    pub fn did_nothing(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Refused(_)) || self.is_of_one()
    }

    /// Whether the error is about the value, and not about the store.
    pub fn is_of_one(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::TooLarge)
    }
}

/// The outcome of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// The row is inserted.
    New,
    /// A row with that id was there before.
    Already,
}

/// The outcome of putting an event unless its id exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// The event is put.
    New,
    /// This event with that id was there before, and stays.
    Already(Box<LoggedEvent>),
}

/// A row, and its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The content.
    pub metadata: Metadata,
    /// The order of rows with one timestamp: it grows with each inserted row.
    pub sequence: i64,
}

impl Row {
    /// The position of the row in a listing.
    pub fn position(&self) -> ListingPosition {
        ListingPosition { at: self.metadata.timestamp, sequence: self.sequence }
    }
}

/// The found details.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DetailsPage {
    /// The details that exist.
    pub details: HashMap<Uuid, Details>,
    /// The ids to ask for again: the store had no time for them.
    pub unprocessed: Vec<Uuid>,
}

/// SQL: one row for each event. The row makes the event exist.
#[async_trait]
pub trait MetadataStore: fmt::Debug + Send + Sync {
    /// Inserts a row, unless its id exists.
    async fn insert(&self, metadata: &Metadata) -> DatabaseResult<Insertion>;

    /// At most `limit` rows, the newest first; of those with one timestamp, the one inserted last comes first.
    async fn list(
        &self,
        query: &ListingQuery,
        after: Option<ListingPosition>,
        most: usize,
    ) -> DatabaseResult<Vec<Row>>;

    /// The event with this id, of any user.
    async fn of_id(&self, event_id: Uuid) -> DatabaseResult<Option<Metadata>>;

    /// A user's event.
    async fn find(&self, user_id: &str, event_id: Uuid) -> DatabaseResult<Option<Row>>;

    /// Those of these ids, at most 100, that have a row.
    async fn known(&self, ids: &[Uuid]) -> DatabaseResult<HashSet<Uuid>>;

    /// The time up to which sweeps have looked at everything.
    async fn swept_until(&self) -> DatabaseResult<DateTime<Utc>>;

    /// Notes that a sweep has looked at everything from `from` to `until`.
    ///
    /// The mark moves forward only if `from` joins on to it, as no sweep has looked at the time between. It never passes
    /// this store's own clock, as later events are still to be recorded.
    async fn sweep_reached(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> DatabaseResult<()>;

    /// Whether the database answers at all.
    async fn probe(&self) -> DatabaseResult<()>;
}

/// DynamoDB: one item for each event, with all of the event.
#[async_trait]
pub trait DetailsStore: fmt::Debug + Send + Sync {
    /// Puts an event, unless its id exists; then returns the existing one.
    async fn put(&self, event: &LoggedEvent) -> DatabaseResult<PutOutcome>;

    /// Removes this event, unless another one has its id by now.
    async fn take_back(&self, event: &LoggedEvent) -> DatabaseResult<()>;

    /// The current details of these events, at most 100; some may be left [unprocessed](DetailsPage::unprocessed).
    async fn details(&self, ids: &[Uuid]) -> DatabaseResult<DetailsPage>;

    /// All of an event; `None` where it does not exist, or where the item is not this service's.
    async fn event(&self, id: Uuid) -> DatabaseResult<Option<LoggedEvent>>;

    /// The ids of the events of a bucket that were recorded from `from` on and before `to`, a page at a time.
    async fn recorded(
        &self,
        bucket: Bucket,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        page: Option<String>,
    ) -> DatabaseResult<RecordedPage>;

    /// Whether the database answers at all.
    async fn probe(&self) -> DatabaseResult<()>;
}

/// A page of the ids in a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedPage {
    /// The events' ids.
    pub ids: Vec<Uuid>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// Events recorded within an hour, by the first digit of their ids. So a sweep reads no more than needed, and no part of
/// DynamoDB's index takes all writes of one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Hours since 1970.
    hour: i64,
    /// 0 to 15.
    digit: u8,
}

impl Bucket {
    /// Seconds of an hour.
    const HOUR: i64 = 3_600;

    /// The bucket of an event.
    pub fn of(event: &LoggedEvent) -> Self {
        let first = event.metadata.event_id.as_bytes()[0];
        Self { hour: event.recorded_at.timestamp().div_euclid(Self::HOUR), digit: first >> 4 }
    }

    /// The buckets of the hour of this moment.
    pub fn at(timestamp: DateTime<Utc>) -> impl Iterator<Item = Self> {
        let hour = timestamp.timestamp().div_euclid(Self::HOUR);
        (0..16).map(move |digit| Self { hour, digit })
    }

    /// The start of the next hour.
    pub fn end(timestamp: DateTime<Utc>) -> DateTime<Utc> {
        let next = timestamp.timestamp().div_euclid(Self::HOUR) + 1;
        DateTime::from_timestamp(next * Self::HOUR, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// `2026-05-01T10#a`: the key of DynamoDB's index.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hour = DateTime::<Utc>::from_timestamp(self.hour * Self::HOUR, 0).unwrap_or_default();
        write!(f, "{}#{:x}", hour.format("%Y-%m-%dT%H"), self.digit)
    }
}
