//! A reader that pages while events arrive misses none and sees none twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use highwater::store::{Direction, EventQuery, EventStore, Positions, Span};
use tokio::task::{JoinSet, yield_now};

use super::stores::{Stores, admit, event, newest_first, of_type, on_both_stores, record, records};

const PARTITIONS: i32 = 4;
const EVENTS: i64 = 2_000;

on_both_stores! {
    readers_of_every_kind_follow_concurrent_writers_without_a_gap_or_a_repeat,
    a_boundary_serves_both_directions_and_any_process,
    positions_go_on_above_what_is_stored_when_offsets_fall,
}

/// Each partition has a writer with batches of its own size, so that they overtake one another all the time.
async fn readers_of_every_kind_follow_concurrent_writers_without_a_gap_or_a_repeat(stores: &Stores) {
    let store = stores.with_partitions(PARTITIONS).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for (limit, query) in [
        (1, EventQuery::default()),
        (7, EventQuery::default()),
        (300, EventQuery::default()),
        (50, of_type("even")),
    ] {
        let (store, is_done) = (stores.open().await, Arc::clone(&is_done));
        readers.spawn(
            async move { (query.event_type.is_some(), follow(&*store, &query, limit, &is_done).await) },
        );
    }
    let mut writers = JoinSet::new();
    for partition in 0..PARTITIONS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let size = 1 + partition as usize * 13;
            let offsets: Vec<i64> = (0..EVENTS).collect();
            for some in offsets.chunks(size) {
                let made = some.iter().map(|offset| {
                    let number = (*offset as i32 * PARTITIONS + partition) as u32;
                    record(*offset, event(number, "ada", ["even", "odd"][*offset as usize % 2]))
                });
                assert!(admit(&*store, partition, made.collect()).await.iter().all(|new| *new));
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    is_done.store(true, Ordering::Release);
    while let Some(read) = readers.join_next().await {
        let (is_even, seen) = read.unwrap();
        for (partition, positions) in &seen {
            let step = 1 + usize::from(is_even);
            let expected: Vec<i64> = (0..EVENTS).step_by(step).collect();
            assert_eq!(*positions, expected, "partition {partition}");
        }
        assert_eq!(seen.len(), PARTITIONS as usize);
    }
}

/// Pages for as long as anything comes, each page a request of its own; the positions seen of each partition, in order.
async fn follow(
    store: &dyn EventStore,
    query: &EventQuery,
    limit: usize,
    is_done: &AtomicBool,
) -> BTreeMap<i32, Vec<i64>> {
    let mut seen: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    let mut cursor = Positions::default();
    loop {
        // The store in memory never waits, and writers need their turns.
        yield_now().await;
        let is_last_look = is_done.load(Ordering::Acquire);
        let within = Span::before(store.end().await.unwrap(), Some(&cursor), Direction::Forward);
        let end =
            Span(within.0.iter().map(|(partition, range)| (*partition, range.end..range.end)).collect());
        let page = store.read(query, within, limit).await.unwrap();
        for found in &page.events {
            seen.entry(found.partition).or_default().push(found.position);
        }
        let is_whole = page.rest.is_none();
        cursor = page.rest.unwrap_or(end).boundary(Direction::Forward);
        if is_last_look && is_whole {
            return seen;
        }
    }
}

async fn a_boundary_serves_both_directions_and_any_process(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    for (partition, offset, numbers) in [(0, 0, 0..5), (1, 0, 5..10), (0, 5, 10..15)] {
        admit(&*store, partition, records(offset, numbers)).await;
    }
    let end = store.end().await.unwrap();
    let page = store
        .read(&EventQuery::default(), Span::before(end.clone(), None, Direction::Forward), 7)
        .await
        .unwrap();
    let boundary = page.rest.unwrap().boundary(Direction::Forward);
    let other = stores.open().await;
    let numbers = async |query: EventQuery| {
        let within = Span::before(end.clone(), Some(&boundary), query.direction);
        let page = other.read(&query, within, 100).await.unwrap();
        page.events.iter().map(|event| event.id().as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(EventQuery::default()).await, (7..15).collect::<Vec<_>>());
    assert_eq!(numbers(newest_first(EventQuery::default())).await, (0..7).rev().collect::<Vec<_>>());
}

/// As after an unclean election, or when the topic is deleted and made again.
async fn positions_go_on_above_what_is_stored_when_offsets_fall(stores: &Stores) {
    let store = stores.with_partitions(1).await;
    admit(&*store, 0, records(0, 0..10)).await;
    let cursor = store.end().await.unwrap();
    store.move_to(0, 4.into()).await.unwrap();
    admit(&*store, 0, records(4, 10..15)).await;
    admit(&*store, 0, records(9, 15..17)).await;
    let within = Span::before(store.end().await.unwrap(), Some(&cursor), Direction::Forward);
    let page = store.read(&EventQuery::default(), within, 100).await.unwrap();
    let seen: BTreeSet<u128> = page.events.iter().map(|event| event.id().as_u128()).collect();
    assert_eq!(seen, (10..17).collect());
    assert_eq!(
        page.events.iter().map(|event| event.position).collect::<Vec<_>>(),
        (10..17).collect::<Vec<_>>()
    );
    // Forward over what the log has lost.
    store.move_to(0, 100.into()).await.unwrap();
    assert_eq!(admit(&*store, 0, records(100, 17..18)).await, [true]);
}
