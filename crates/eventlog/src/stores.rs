//! The interfaces of the two databases: SQL Server and DynamoDB.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Details, EventQuery, ListingPosition, LoggedEvent, Metadata};

/// The result of a call to a database.
pub type DatabaseResult<T> = Result<T, DatabaseError>;

/// The error of a database. The text is for the log, never for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It cannot be reached, or breaks off: the request may have been carried out.
    #[error("away: {0}")]
    Away(String),
    /// It has too much to do, and did nothing; asked a little later, it may.
    #[error("throttled: {0}")]
    Throttled(String),
    /// It did not answer in time: the request may have been carried out.
    #[error("no answer in time")]
    Late,
    /// It will not do it, asked again or not: a right, a table or a setting is missing.
    #[error("refused: {0}")]
    Refused(String),
    /// It will not keep this one, asked again or not; others it does.
    #[error("does not take this one: {0}")]
    Invalid(String),
    /// The value is larger than the database takes.
    #[error("too large")]
    TooLarge,
}

impl DatabaseError {
    /// Whether nothing was done for sure.
    pub fn did_nothing(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Refused(_)) || self.is_of_one()
    }

    /// Whether it is about the value, and says nothing of the store.
    pub fn is_of_one(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::TooLarge)
    }
}

/// The outcome of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// It is there now.
    New,
    /// One of that id was there before.
    Already,
}

/// The outcome of putting an event unless its id exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is there now.
    New,
    /// This one of that id was there before, and stays.
    Already(Box<LoggedEvent>),
}

/// A row, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The content.
    pub metadata: Metadata,
    /// Tells rows of one timestamp apart: grows with each row that is inserted.
    pub sequence: i64,
}

impl Row {
    /// Where it stands in a listing.
    pub fn position(&self) -> ListingPosition {
        ListingPosition { at: self.metadata.timestamp, sequence: self.sequence }
    }
}

/// The details that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DetailsPage {
    /// Those that are there.
    pub details: HashMap<Uuid, Details>,
    /// Those that are to be asked for again: the store had no time for them.
    pub unprocessed: Vec<Uuid>,
}

/// SQL: one row an event, and the row is what makes the event exist.
#[async_trait]
pub trait MetadataStore: fmt::Debug + Send + Sync {
    /// Inserts a row, unless one of its id is there.
    async fn insert(&self, metadata: &Metadata) -> DatabaseResult<Insertion>;

    /// At most so many rows, the newest first, of those of one timestamp the one inserted last.
    async fn list(
        &self,
        query: &EventQuery,
        after: Option<ListingPosition>,
        most: usize,
    ) -> DatabaseResult<Vec<Row>>;

    /// The event that has this id, whoever's it is.
    async fn of_id(&self, event_id: Uuid) -> DatabaseResult<Option<Metadata>>;

    /// A user's event.
    async fn find(&self, user_id: &str, event_id: Uuid) -> DatabaseResult<Option<Row>>;

    /// Those of these ids, at most 100, that have a row.
    async fn known(&self, ids: &[Uuid]) -> DatabaseResult<HashSet<Uuid>>;

    /// Until when a sweep has looked at everything.
    async fn swept_until(&self) -> DatabaseResult<DateTime<Utc>>;

    /// Notes that a sweep has looked at everything from then until then.
    ///
    /// That moves the mark forward only where it joins on to it, as no sweep has looked at the time between; and never
    /// past this store's own clock, as events after it are yet to be recorded.
    async fn sweep_reached(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> DatabaseResult<()>;

    /// Whether it can be asked at all.
    async fn probe(&self) -> DatabaseResult<()>;
}

/// DynamoDB: one item an event, with all that the event says.
#[async_trait]
pub trait DetailsStore: fmt::Debug + Send + Sync {
    /// Puts an event, unless one of its id is there; that one is then told.
    async fn put(&self, event: &LoggedEvent) -> DatabaseResult<PutOutcome>;

    /// Removes this event, unless it is another one by now that has its id.
    async fn take_back(&self, event: &LoggedEvent) -> DatabaseResult<()>;

    /// The details of these events, at most 100, as they are now; some may be left [unprocessed](DetailsPage::unprocessed).
    async fn details(&self, ids: &[Uuid]) -> DatabaseResult<DetailsPage>;

    /// All of an event; `None` where there is none, or where the item is not this service's.
    async fn event(&self, id: Uuid) -> DatabaseResult<Option<LoggedEvent>>;

    /// The ids of the events of a bucket that were recorded from `from` on and before `to`, a page at a time.
    async fn recorded(
        &self,
        bucket: Bucket,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        page: Option<String>,
    ) -> DatabaseResult<RecordedPage>;

    /// Whether it can be asked at all.
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

/// Events recorded within an hour, by the first digit of their ids: so that a sweep reads no more than it must, and
/// no part of DynamoDB's index takes all that is written in one hour.
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

    /// The one that an event is in.
    pub fn of(event: &LoggedEvent) -> Self {
        let first = event.metadata.event_id.as_bytes()[0];
        Self { hour: event.recorded_at.timestamp().div_euclid(Self::HOUR), digit: first >> 4 }
    }

    /// Those of the hour in which this moment is.
    pub fn at(timestamp: DateTime<Utc>) -> impl Iterator<Item = Self> {
        let hour = timestamp.timestamp().div_euclid(Self::HOUR);
        (0..16).map(move |digit| Self { hour, digit })
    }

    /// When the hour after that of this moment begins.
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
