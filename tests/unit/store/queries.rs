//! Queries and their pages.

use std::thread;

use highwater::store::{ActivityEvent, Direction, EventQuery, EventStore, MemoryStore, Positions, Span};
use tokio::runtime;
use uuid::Uuid;

use super::{
    admit, all, event, events, listed, moment, newest_first, numbers_of, of_type, of_user, store, whole,
};

#[tokio::test]
async fn a_user_is_compared_exactly() {
    let store = store(100);
    for (number, user_id) in ["ada", "Ada", "ad", "a\"da", "ada ", "ädä", "ada"].into_iter().enumerate() {
        admit(&store, number as i32 % 2, vec![event(number as u32, user_id, "A")]).await;
    }
    assert_eq!(listed(&store, &of_user("ada"), 1).await, [0, 6]);
    assert_eq!(listed(&store, &of_user("a\"da"), 10).await, [3]);
    assert_eq!(listed(&store, &of_user("ädä"), 10).await, [5]);
    assert!(listed(&store, &of_user("nobody"), 10).await.is_empty());
}

#[tokio::test]
async fn a_type_is_compared_without_case_in_any_script() {
    let store = store(100);
    for (number, event_type) in
        ["LOGIN", "login", "LogIn", "LOGOUT", "ÜBERSICHT", "übersicht"].iter().enumerate()
    {
        admit(&store, 0, vec![event(number as u32, "ada", event_type)]).await;
    }
    assert_eq!(listed(&store, &of_type("lOGIN"), 2).await, [0, 1, 2]);
    assert_eq!(listed(&store, &of_type("Übersicht"), 10).await, [4, 5]);
    assert!(listed(&store, &of_type("log"), 10).await.is_empty());
}

#[tokio::test]
async fn a_query_combines_user_and_type() {
    let store = store(100);
    for number in 0..12 {
        let (user_id, event_type) =
            (["ada", "eve"][number as usize % 2], ["A", "B", "C"][number as usize % 3]);
        admit(&store, 0, vec![event(number, user_id, event_type)]).await;
    }
    let query = EventQuery { event_type: Some("b".to_owned()), ..of_user("eve") };
    assert_eq!(listed(&store, &query, 1).await, [1, 7]);
    let query = EventQuery { event_type: Some("none".to_owned()), ..of_user("eve") };
    assert!(listed(&store, &query, 1).await.is_empty());
}

#[tokio::test]
async fn from_is_inclusive_and_to_is_not() {
    let store = store(100);
    admit(&store, 0, events([5, 3, 4, 1, 2])).await;
    let between = |from, to| EventQuery { from, to, ..EventQuery::default() };
    assert_eq!(listed(&store, &between(Some(moment(2)), Some(moment(4))), 10).await, [3, 2]);
    assert_eq!(listed(&store, &between(Some(moment(4)), None), 10).await, [5, 4]);
    assert_eq!(listed(&store, &between(None, Some(moment(2))), 10).await, [1]);
    assert!(listed(&store, &between(Some(moment(4)), Some(moment(4))), 10).await.is_empty());
}

#[tokio::test]
async fn every_page_but_the_last_points_at_a_matching_event() {
    let store = store(100);
    admit(&store, 0, events(0..3)).await;
    admit(&store, 1, vec![event(3, "eve", "A"), event(4, "ada", "A")]).await;
    admit(&store, 0, vec![event(5, "eve", "A"); 1]).await;
    let query = EventQuery { to: Some(moment(3)), ..EventQuery::default() };
    let whole = whole(&store).await;
    for query in [query.clone(), newest_first(query)] {
        let first = store.read(&query, whole.clone(), 2).await.unwrap();
        assert_eq!(first.events.len(), 2);
        let second = store.read(&query, first.rest.unwrap(), 2).await.unwrap();
        assert_eq!((second.events.len(), second.rest), (1, None));
        let all = store.read(&query, whole.clone(), 3).await.unwrap();
        assert_eq!((all.events.len(), all.rest), (3, None));
    }
}

#[tokio::test]
async fn events_admitted_after_the_listing_began_are_not_in_it() {
    let store = store(100);
    admit(&store, 0, events(0..2)).await;
    let end = store.end().await.unwrap();
    let before = Span::before(end.clone(), None, Direction::Forward);
    admit(&store, 1, events(2..4)).await;
    for query in [EventQuery::default(), newest_first(EventQuery::default())] {
        let page = store.read(&query, before.clone(), 100).await.unwrap();
        assert_eq!((page.events.len(), page.rest), (2, None));
    }
    let later = Span::before(store.end().await.unwrap(), Some(&end), Direction::Forward);
    let page = store.read(&EventQuery::default(), later, 100).await.unwrap();
    assert_eq!(numbers_of(&page), [2, 3]);
}

#[tokio::test]
async fn a_listing_continues_although_events_were_evicted_meanwhile() {
    let store = store(4);
    admit(&store, 0, events(0..4)).await;
    let all = whole(&store).await;
    let page = store.read(&EventQuery::default(), all.clone(), 1).await.unwrap();
    let newest = store.read(&newest_first(EventQuery::default()), all, 1).await.unwrap();
    assert_eq!((numbers_of(&page), numbers_of(&newest)), (vec![0], vec![3]));
    admit(&store, 0, events(4..6)).await;
    let rest = store.read(&EventQuery::default(), page.rest.unwrap(), 10).await.unwrap();
    assert_eq!((numbers_of(&rest), rest.rest), (vec![2, 3], None));
    let older = store.read(&newest_first(EventQuery::default()), newest.rest.unwrap(), 10).await.unwrap();
    assert_eq!((numbers_of(&older), older.rest), (vec![2], None));
}

/// Events of which the middle one has the latest time. Each block has both early and late ones.
async fn with_one_late_in(events: u32, partitions: u32) -> MemoryStore {
    let store = store(1_000_000);
    for first in (0..events).step_by(500) {
        let some = first..first + 500;
        let made = some.map(|number| {
            let late = [0, 1_000][(number == events / 2) as usize];
            let millis = i64::from(number % 7 * 100 + late);
            ActivityEvent::new(Uuid::from_u128(number.into()), "ada", "LOGIN", moment(millis), None)
        });
        admit(&store, (first / 500 % partitions) as i32, made.collect()).await;
    }
    store
}

#[tokio::test]
async fn a_search_of_many_events_returns_short_pages_and_finds_all_matches_in_both_directions() {
    const EVENTS: u32 = 100_000;
    for partitions in [1, 3, 64] {
        let store = with_one_late_in(EVENTS, partitions).await;
        // Within what every block has, but for one that nothing has.
        let between = EventQuery { from: Some(moment(550)), to: Some(moment(560)), ..EventQuery::default() };
        let late = EventQuery { from: Some(moment(601)), ..EventQuery::default() };
        let of_ada = EventQuery { user_id: Some("ada".to_owned()), ..between.clone() };
        for query in [between, late, of_ada] {
            let is_there = query.to.is_none();
            for query in [query.clone(), newest_first(query)] {
                let (mut rest, mut found, mut reads) = (Some(whole(&store).await), Vec::new(), 0);
                while let Some(within) = rest {
                    let page = store.read(&query, within, 10).await.unwrap();
                    found.extend(numbers_of(&page));
                    rest = page.rest;
                    reads += 1;
                }
                assert_eq!(found, if is_there { vec![EVENTS / 2] } else { vec![] });
                assert!(is_there || (2..40).contains(&reads), "{reads} reads of {partitions} partitions");
            }
        }
    }
}

#[tokio::test]
async fn a_time_without_events_is_searched_in_one_read() {
    let store = store(1_000_000);
    for first in (0..60_000).step_by(500) {
        let some =
            (first..first + 500).map(|number| event(number, ["ada", "eve"][number as usize % 2], "LOGIN"));
        admit(&store, (first / 500 % 3) as i32, some.collect()).await;
    }
    let middle = Some(moment(30_000));
    let of_eve = EventQuery { event_type: Some("LOGOUT".to_owned()), ..of_user("eve") };
    for (query, expected) in [
        (EventQuery { from: Some(moment(60_000)), ..EventQuery::default() }, vec![]),
        (EventQuery { to: Some(moment(0)), ..EventQuery::default() }, vec![]),
        (EventQuery { from: middle, to: middle, ..EventQuery::default() }, vec![]),
        (
            EventQuery { from: middle, to: Some(moment(30_002)), ..EventQuery::default() },
            vec![30_000, 30_001],
        ),
        (EventQuery { from: middle, to: Some(moment(30_004)), ..of_user("eve") }, vec![30_001, 30_003]),
        (EventQuery { from: Some(moment(60_000)), ..of_type("login") }, vec![]),
        (EventQuery { from: Some(moment(59_999)), ..of_type("login") }, vec![59_999]),
        (of_eve, vec![]),
    ] {
        for query in [query.clone(), newest_first(query)] {
            let page = store.read(&query, whole(&store).await, 10).await.unwrap();
            let mut numbers = numbers_of(&page);
            numbers.sort_unstable();
            assert_eq!((numbers, page.rest), (expected.clone(), None), "{query:?}");
        }
    }
}

#[tokio::test]
async fn blocks_whose_first_events_have_left_are_searched_for_the_others() {
    let store = store(3_000);
    for first in (0..10_000).step_by(100) {
        admit(&store, 0, events(first..first + 100)).await;
        let held: Vec<u32> = ((first + 100).saturating_sub(3_000)..first + 100).collect();
        let from = held[held.len() / 2];
        let query = EventQuery { from: Some(moment(from.into())), ..EventQuery::default() };
        let expected: Vec<u32> = (from..first + 100).collect();
        assert_eq!(listed(&store, &query, 700).await, expected);
        assert!(listed(&store, &newest_first(query), 700).await.iter().eq(expected.iter().rev()));
        assert_eq!(listed(&store, &of_user("ada"), 700).await, held);
    }
}

#[test]
fn while_several_partitions_are_written_a_listing_misses_nothing_before_its_end() {
    const PARTITIONS: i32 = 3;
    const EVENTS: u32 = 20_000;

    let store = store(1_000_000);
    thread::scope(|scope| {
        let writer = |partition| {
            let store = &store;
            scope.spawn(move || {
                let runtime = runtime::Builder::new_current_thread().build().unwrap();
                let numbers: Vec<u32> =
                    (0..EVENTS).map(|n| n * PARTITIONS as u32 + partition as u32).collect();
                for some in numbers.chunks(5) {
                    runtime.block_on(admit(store, partition, events(some.iter().copied())));
                }
            })
        };
        let writers: Vec<_> = (0..PARTITIONS).map(writer).collect();
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut from = Positions::default();
            let mut last_look = false;
            while !last_look {
                last_look = writers.iter().all(|writer| writer.is_finished());
                // All are new, so each position has its event.
                let until = store.end().await.unwrap();
                let mut missing = Span::before(until.clone(), Some(&from), Direction::Forward).0;
                let mut rest = Some(Span(missing.clone()));
                while let Some(within) = rest {
                    let page = store.read(&EventQuery::default(), within, 1000).await.unwrap();
                    for event in &page.events {
                        assert_eq!(missing.get_mut(&event.partition).unwrap().next(), Some(event.position));
                    }
                    rest = page.rest;
                }
                assert!(missing.values().all(|left| left.is_empty()), "{missing:?}");
                assert!(!last_look || until.0.values().eq([&i64::from(EVENTS); PARTITIONS as usize]));
                from = until;
            }
        });
    });
}

#[tokio::test]
async fn a_type_is_found_in_other_case_whatever_its_length_and_script() {
    let store = store(100);
    let pairs = [
        ("A".repeat(64), "a".repeat(64)),
        ("A".repeat(65), "a".repeat(65)),
        ("\u{212a}ELVIN".to_owned(), "KeLViN".to_owned()), // the sign of the unit
        ("\u{130}".to_owned(), "i\u{307}".to_owned()),
        ("ΟΔΟΣ".to_owned(), "οδος".to_owned()),
    ];
    for (number, (upper, lower)) in (0..).zip(&pairs) {
        admit(&store, 0, vec![event(2 * number, "ada", upper), event(2 * number + 1, "ada", lower)]).await;
    }
    for (number, (upper, lower)) in (0..).zip(&pairs) {
        for asked in [upper, lower] {
            assert_eq!(listed(&store, &of_type(asked), 10).await, [2 * number, 2 * number + 1], "{asked}");
        }
    }
}

/// Posting lists go by 32 bits of a hash. Among this many users, four or five pairs share one; in one of a hundred runs,
/// none does.
#[tokio::test]
async fn each_of_two_hundred_thousand_users_has_their_own_events_alone() {
    const USERS: u32 = 200_000;

    let store = store(USERS.into());
    let user = |number: u32| format!("user-{number}");
    for first in (0..USERS).step_by(1000) {
        let some = (first..first + 1000).map(|number| event(number, &user(number), "A"));
        admit(&store, 0, some.collect()).await;
    }
    for number in 0..USERS {
        assert_eq!(listed(&store, &of_user(&user(number)), 10).await, [number]);
    }
    // And when the others of a group have left.
    store.set_partition_count(2).await.unwrap();
    for number in 0..USERS {
        let left: &[u32] = if number < USERS / 2 { &[] } else { &[number] };
        assert_eq!(listed(&store, &of_user(&user(number)), 10).await, left);
    }
}

#[test]
fn a_listing_beside_evictions_and_a_partition_that_comes_and_goes_has_each_event_once_in_order() {
    const EVENTS: u32 = 20_000;
    const SHARE: usize = 1_000;

    let store = store(2 * SHARE as u64);
    let runtime = || runtime::Builder::new_current_thread().build().unwrap();
    runtime().block_on(store.set_partition_count(2)).unwrap();
    thread::scope(|scope| {
        let full = scope.spawn(|| {
            for first in (0..EVENTS).step_by(50) {
                runtime().block_on(admit(&store, 0, events(first..first + 50)));
            }
        });
        let coming_and_going = scope.spawn(|| {
            for _ in 0..100 {
                let new = runtime().block_on(admit(&store, 1, events(EVENTS..EVENTS + 500)));
                assert!(new.iter().all(|new| *new));
                runtime().block_on(store.forget(1)).unwrap();
            }
        });
        runtime().block_on(async {
            while !(full.is_finished() && coming_and_going.is_finished()) {
                let (within, mut last) = (whole(&store).await, None);
                let mut rest = Some(within);
                while let Some(within) = rest {
                    let page = store.read(&EventQuery::default(), within.clone(), 100).await.unwrap();
                    for event in &page.events {
                        assert!(last < Some(event.sequence), "{last:?} {:?}", event.sequence);
                        assert!(within.0[&event.partition].contains(&event.position));
                        last = Some(event.sequence);
                    }
                    rest = page.rest;
                }
            }
        });
    });
    let newest: Vec<u32> = (EVENTS - SHARE as u32..EVENTS).collect();
    assert_eq!(runtime().block_on(all(&store)), newest);
    assert_eq!(store.stats().events, SHARE as u64);
}
