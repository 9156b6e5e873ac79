//! The store in memory.

mod admission;
mod bound;
mod content_hash;
mod model;
mod queries;
mod waiting;

use std::ops::Range;

use chrono::{DateTime, Utc};
use highwater::store::{
    ActivityEvent, Admission, Config, Direction, EventPage, EventQuery, EventRecord, EventStore, MemoryStore,
    Span,
};
use uuid::Uuid;

fn store(max_events: u64) -> MemoryStore {
    MemoryStore::new(&Config { max_events, max_bytes: u64::MAX })
}

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

/// An event; its number is its id and its time.
fn event(number: u32, user_id: &str, event_type: &str) -> ActivityEvent {
    ActivityEvent::new(Uuid::from_u128(number.into()), user_id, event_type, moment(number.into()), None)
}

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<ActivityEvent> {
    numbers.into_iter().map(|number| event(number, "ada", "LOGIN")).collect()
}

/// Admits events, and says which of them are new.
async fn admit(store: &MemoryStore, partition: i32, events: Vec<ActivityEvent>) -> Vec<bool> {
    let offered =
        (0..).zip(events).map(|(offset, event)| EventRecord { offset, written_at: 0, event }).collect();
    let admissions = store.admit(partition, offered, 0.into()).await.unwrap();
    admissions.iter().map(|admission| matches!(admission, Admission::New(_))).collect()
}

/// The numbers of all events that match, read in pages of at most so many.
async fn listed(store: &MemoryStore, query: &EventQuery, limit: usize) -> Vec<u32> {
    let mut rest = Some(whole(store).await);
    let mut numbers = Vec::new();
    while let Some(within) = rest {
        let page = store.read(query, within.clone(), limit).await.unwrap();
        assert!(page.events.len() <= limit);
        numbers.extend(numbers_of(&page));
        rest = page.rest;
        assert!(
            rest.as_ref().is_none_or(|rest| is_less(rest, &within)),
            "no way forward from {within:?}: {rest:?}"
        );
    }
    numbers
}

/// Whether it is a part of the other span, and not all of it.
fn is_less(rest: &Span, within: &Span) -> bool {
    let is_within = |(partition, range): (&i32, &Range<i64>)| {
        let whole = &within.0[partition];
        whole.start <= range.start && range.end <= whole.end
    };
    rest.0.iter().all(is_within) && rest != within
}

/// All positions that were given.
async fn whole(store: &MemoryStore) -> Span {
    Span::before(store.end().await.unwrap(), None, Direction::Forward)
}

fn numbers_of(page: &EventPage) -> Vec<u32> {
    page.events.iter().map(|event| u32::try_from(event.id().as_u128()).unwrap()).collect()
}

fn newest_first(query: EventQuery) -> EventQuery {
    EventQuery { direction: Direction::Backward, ..query }
}

async fn all(store: &MemoryStore) -> Vec<u32> {
    listed(store, &EventQuery::default(), 1000).await
}

fn of_user(user_id: &str) -> EventQuery {
    EventQuery { user_id: Some(user_id.to_owned()), ..EventQuery::default() }
}

fn of_type(event_type: &str) -> EventQuery {
    EventQuery { event_type: Some(event_type.to_owned()), ..EventQuery::default() }
}
