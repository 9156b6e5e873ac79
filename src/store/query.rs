//! Queries and their results.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use chrono::{DateTime, Utc};

use super::{ActivityEvent, StoredEvent, event::user_json};

/// The filters of a listing. A field that is `None` filters nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// The user, compared exactly.
    pub user_id: Option<String>,
    /// The event type, compared without case.
    pub event_type: Option<String>,
    /// The earliest timestamp, inclusive.
    pub from: Option<DateTime<Utc>>,
    /// The latest timestamp, exclusive.
    pub to: Option<DateTime<Utc>>,
    /// The order of the results.
    pub direction: Direction,
}

impl EventQuery {
    /// The requested times, in milliseconds since 1970.
    pub(super) fn millis(&self) -> Range<i64> {
        let from = self.from.map_or(i64::MIN, |from| from.timestamp_millis());
        let to = self.to.map_or(i64::MAX, |to| to.timestamp_millis());
        from..to
    }
}

/// A query in the form that events are compared with.
#[derive(Debug)]
pub struct Criteria {
    /// The userId as a JSON string.
    pub(super) user: Option<Vec<u8>>,
    /// The eventType in lower case.
    pub(super) event_type: Option<String>,
    /// Timestamps in milliseconds since 1970.
    pub(super) times: Range<i64>,
}

impl From<&EventQuery> for Criteria {
    fn from(query: &EventQuery) -> Self {
        Self {
            user: query.user_id.as_deref().map(user_json),
            event_type: query.event_type.as_ref().map(|event_type| event_type.to_lowercase()),
            times: query.millis(),
        }
    }
}

impl Criteria {
    /// Whether the query asks for this event.
    pub fn matches(&self, event: &ActivityEvent) -> bool {
        let is_any_time = self.times == (i64::MIN..i64::MAX);
        self.match_content(event) && (is_any_time || self.times.contains(&event.timestamp_millis()))
    }

    /// Whether the query asks for an event of this user and type.
    pub(super) fn match_content(&self, event: &ActivityEvent) -> bool {
        let is_of_type = |lower: &String| {
            let event_type = event.event_type();
            event_type.eq_ignore_ascii_case(lower) || event_type.to_lowercase() == *lower
        };
        self.user.as_ref().is_none_or(|user| user == event.user_id_json())
            && self.event_type.as_ref().is_none_or(is_of_type)
    }
}

/// The direction through the order of processing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// The first processed event comes first.
    #[default]
    Forward,
    /// The last processed event comes first.
    Backward,
}

impl Direction {
    /// The rest of a partition when `next` is the next event.
    pub(super) fn rest(self, next: i64, within: Range<i64>) -> Range<i64> {
        match self {
            Self::Forward => next..within.end,
            Self::Backward => within.start..next + 1,
        }
    }

    /// The rest of a partition when nothing is left: an empty range at the place to which the partition was read.
    pub(super) fn nothing(self, within: Range<i64>) -> Range<i64> {
        match self {
            Self::Forward => within.end..within.end,
            Self::Backward => within.start..within.start,
        }
    }
}

/// A number by which the events of all partitions are ordered. It never falls from one event of a partition to the next.
/// In memory it counts admissions; in PostgreSQL it is the time at which the event's batch was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceNumber(pub u64);

/// A boundary in the order of events: in each partition, everything below this position is before it. It says nothing of
/// partitions that it does not name.
///
/// An event's position is its record's offset, as long as the topic is not made anew or cut; then positions go on above the
/// given ones, so that an event never comes before an earlier boundary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(pub BTreeMap<i32, i64>);

/// A part of the events: in each partition, those whose positions are in this range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span(pub BTreeMap<i32, Range<i64>>);

impl Span {
    /// The events before `end`. If there is a boundary, only those after it for the direction forward, or before it for the
    /// direction backward.
    pub fn before(end: Positions, boundary: Option<&Positions>, direction: Direction) -> Self {
        let range = |(partition, end): (i32, i64)| {
            let boundary = boundary.and_then(|boundary| boundary.0.get(&partition).copied());
            let range = match (boundary, direction) {
                (None, _) => 0..end,
                (Some(boundary), Direction::Forward) => boundary.clamp(0, end)..end,
                (Some(boundary), Direction::Backward) => 0..boundary.clamp(0, end),
            };
            (partition, range)
        };
        Self(end.0.into_iter().map(range).collect())
    }

    /// The boundary at which the next page begins.
    pub fn boundary(&self, direction: Direction) -> Positions {
        let position = |range: &Range<i64>| match direction {
            Direction::Forward => range.start,
            Direction::Backward => range.end,
        };
        Positions(self.0.iter().map(|(partition, range)| (*partition, position(range))).collect())
    }

    /// Whether it contains no event.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Range::is_empty)
    }
}

/// The bytes of JSON at which a page ends, however many events were asked for. A listing holds this much at a time. Its last
/// event may go beyond, and in PostgreSQL one of each partition.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events, in the query's order.
    pub events: Vec<Arc<StoredEvent>>,
    /// The part of the listing that is still to be read; `None` after the last event.
    pub rest: Option<Span>,
    /// Of the span's partitions from which events have left, for newer ones or for their age, the position from which on all are
    /// there. It was so when the page was read.
    pub complete_from: Positions,
}
