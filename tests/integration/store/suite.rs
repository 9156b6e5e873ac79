//! The rules that hold in any store.

use std::{sync::Arc, time::Duration};

use highwater::store::{ActivityEvent, Admission, EventQuery, EventStore, PAGE_BYTES, Span};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::stores::{
    Stores, admit, all, event, listed, moment, newest_first, of_type, of_user, on_both_stores, record,
    records,
};
use crate::support::eventually;

on_both_stores! {
    an_event_is_admitted_once_and_its_first_copy_stays,
    a_copy_that_says_something_else_names_the_first,
    events_are_listed_partition_by_partition_in_their_logs_order,
    filters_find_what_matches_alone_and_together,
    a_time_is_found_among_many_events_in_either_direction,
    a_page_ends_by_the_bytes_of_its_events,
    an_event_comes_back_as_it_was,
    a_wait_ends_with_the_event_that_another_admits,
    a_count_is_of_all_events,
}

async fn an_event_is_admitted_once_and_its_first_copy_stays(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    let first = vec![record(0, event(1, "ada", "A")), record(1, event(1, "eve", "B"))];
    assert_eq!(admit(&*store, 0, first).await, [true, false]);
    let again = vec![record(2, event(1, "eve", "B")), record(3, event(2, "ada", "A"))];
    assert_eq!(admit(&*store, 0, again).await, [false, true]);
    assert_eq!(admit(&*store, 1, vec![record(0, event(2, "eve", "B"))]).await, [false]);
    let kept = store.get(Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!((kept.user_id().as_ref(), kept.event_type().as_ref()), ("ada", "A"));
    assert_eq!((kept.partition, kept.position), (0, 0));
    assert_eq!(all(&*store).await, [1, 2]);
    assert!(listed(&*store, &of_user("eve"), 10).await.is_empty());
    assert_eq!(store.get(Uuid::from_u128(3)).await.unwrap(), None);
    assert!(admit(&*store, 0, vec![]).await.is_empty());
    assert_eq!(store.stats().unwrap().duplicates, 3);
}

async fn a_copy_that_says_something_else_names_the_first(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    let with = |payload: &str| {
        let payload = RawValue::from_string(payload.to_owned()).unwrap();
        ActivityEvent::new(Uuid::from_u128(1), "ada", "A", moment(1), Some(&payload))
    };
    let first = store.admit(0, vec![record(7, with(r#"{"a":1,"b":2}"#))], 8.into()).await.unwrap();
    assert!(matches!(first[..], [Admission::New(_)]));
    let same = store.admit(0, vec![record(8, with(r#"{ "b": 2, "a": 1 }"#))], 9.into()).await.unwrap();
    assert!(matches!(same[..], [Admission::Duplicate]));
    let other = store
        .admit(1, vec![record(0, with("{}")), record(1, with(r#"{"a":1,"b":2}"#))], 2.into())
        .await
        .unwrap();
    let [Admission::Conflict(first), Admission::Duplicate] = &other[..] else { panic!("{other:?}") };
    assert_eq!((first.partition, first.position, first.payload()), (0, 7, r#"{"a":1,"b":2}"#));
    // Within a batch, too, the first stays.
    let batch = ["[1]", "[2]"].map(|list| format!(r#"{{"list":{list}}}"#));
    let batch = (2..).zip(&batch).map(|(offset, payload)| {
        let payload = RawValue::from_string(payload.clone()).unwrap();
        record(offset, ActivityEvent::new(Uuid::from_u128(2), "ada", "A", moment(1), Some(&payload)))
    });
    let both = store.admit(1, batch.collect(), 4.into()).await.unwrap();
    let [Admission::New(new), Admission::Conflict(first)] = &both[..] else { panic!("{both:?}") };
    assert_eq!((new.position, first.position), (2, 2));
}

async fn events_are_listed_partition_by_partition_in_their_logs_order(stores: &Stores) {
    let store = stores.with_partitions(3).await;
    for (partition, offset, numbers) in
        [(2, 0, 5..8), (0, 3, 20..22), (2, 3, 1..3), (1, 0, 9..10), (0, 5, 3..5)]
    {
        admit(&*store, partition, records(offset, numbers)).await;
    }
    let expected = [5, 6, 7, 20, 21, 1, 2, 9, 3, 4];
    for limit in [1, 2, 3, 1000] {
        assert_eq!(listed(&*store, &EventQuery::default(), limit).await, expected, "pages of {limit}");
        let backward = listed(&*store, &newest_first(EventQuery::default()), limit).await;
        assert!(backward.iter().rev().eq(&expected), "pages of {limit}: {backward:?}");
    }
}

async fn filters_find_what_matches_alone_and_together(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    let users = ["ada", "Ada", "a\"da\\", "ädä", "nul\u{0}", "line\n", "", "x".repeat(9_000).leak() as &str];
    let types = ["LOGIN", "LogIn", "ÜBERSICHT", "übersicht", "ΟΔΟΣ", "\u{212a}ELVIN", "kelvin\u{1}", "other"];
    let mut number = 0;
    let mut made = Vec::new();
    for user in users {
        for event_type in types {
            made.push((number, user, event_type));
            let partition = (number % 2) as i32;
            admit(&*store, partition, vec![record(i64::from(number / 2), event(number, user, event_type))])
                .await;
            number += 1;
        }
    }
    for asked_user in users.iter().map(Some).chain([None, Some(&"nobody")]) {
        for asked_type in
            [Some("login"), Some("Übersicht"), Some("οδος"), Some("KELVIN"), Some("KELVIN\u{1}"), None]
        {
            let matches = |(_, user, event_type): &&(u32, &str, &str)| {
                asked_user.is_none_or(|asked| asked == user)
                    && asked_type.is_none_or(|asked| asked.to_lowercase() == event_type.to_lowercase())
            };
            let expected: Vec<u32> = made.iter().filter(matches).map(|(number, ..)| *number).collect();
            let query = EventQuery {
                user_id: asked_user.map(|user| (*user).to_owned()),
                event_type: asked_type.map(str::to_owned),
                ..EventQuery::default()
            };
            assert_eq!(listed(&*store, &query, 3).await, expected, "{query:?}");
            let mut backward = listed(&*store, &newest_first(query), 3).await;
            backward.reverse();
            assert_eq!(backward, expected);
        }
    }
}

/// Each partition's times come in waves, so that neighbours have early and late ones.
async fn a_time_is_found_among_many_events_in_either_direction(stores: &Stores) {
    const EVENTS: u32 = 30_000;
    let store = stores.with_partitions(3).await;
    let millis = |number: u32| i64::from(number / 7_000 * 10_000 + number % 500);
    for partition in 0..3 {
        let numbers: Vec<u32> = (0..EVENTS).filter(|number| number % 3 == partition).collect();
        for (batch, some) in numbers.chunks(1000).enumerate() {
            let offsets = batch as i64 * 1000..;
            let made = offsets.zip(some).map(|(offset, number)| {
                let id = Uuid::from_u128((*number).into());
                record(offset, ActivityEvent::new(id, "ada", "LOGIN", moment(millis(*number)), None))
            });
            admit(&*store, partition as i32, made.collect()).await;
        }
    }
    for (from, to) in [
        (Some(20_100), Some(20_110)),
        (Some(39_000), None),
        (None, Some(7)),
        (Some(5_000), Some(6_000)),
        (Some(400), Some(30_010)),
        (Some(10), Some(10)),
    ] {
        let mut expected: Vec<u32> = (0..EVENTS)
            .filter(|number| from.is_none_or(|from| millis(*number) >= from))
            .filter(|number| to.is_none_or(|to| millis(*number) < to))
            .collect();
        let time = EventQuery { from: from.map(moment), to: to.map(moment), ..EventQuery::default() };
        for query in [time.clone(), EventQuery { user_id: Some("ada".to_owned()), ..time.clone() }] {
            for query in [query.clone(), newest_first(query)] {
                let mut found = listed(&*store, &query, 400).await;
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected, "{query:?}");
            }
        }
        let none = EventQuery { event_type: Some("LOGOUT".to_owned()), ..time };
        assert!(listed(&*store, &none, 400).await.is_empty());
    }
}

async fn a_page_ends_by_the_bytes_of_its_events(stores: &Stores) {
    const PARTITIONS: i32 = 3;
    let store = stores.with_partitions(PARTITIONS).await;
    let large = RawValue::from_string(format!(r#"{{"x":"{}"}}"#, "x".repeat(PAGE_BYTES / 5))).unwrap();
    let large = |number: u32| {
        ActivityEvent::new(Uuid::from_u128(number.into()), "ada", "A", moment(number.into()), Some(&large))
    };
    let size = large(0).json().len();
    for number in 0..30 {
        let (partition, offset) = ((number % 3) as i32, i64::from(number / 3));
        admit(&*store, partition, vec![record(offset, large(number))]).await;
    }
    let time = EventQuery { from: Some(moment(0)), ..EventQuery::default() };
    for query in [EventQuery::default(), of_user("ada"), of_type("A"), time] {
        for query in [query.clone(), newest_first(query)] {
            let mut rest = Some(Span::before(store.end().await.unwrap(), None, query.direction));
            let mut found = Vec::new();
            while let Some(span) = rest {
                let page = store.read(&query, span, 100).await.unwrap();
                let bytes: usize = page.events.iter().map(|stored| stored.json().len()).sum();
                assert!(bytes <= PAGE_BYTES + size * PARTITIONS as usize, "{bytes} bytes in a page");
                found.extend(page.events.iter().map(|stored| stored.id().as_u128() as u32));
                rest = page.rest;
            }
            if query.direction == highwater::store::Direction::Backward {
                found.reverse();
            }
            assert_eq!(found, (0..30).collect::<Vec<_>>(), "{query:?}");
        }
    }
}

async fn an_event_comes_back_as_it_was(stores: &Stores) {
    let store = stores.with_partitions(1).await;
    let payload =
        r#"{"z":1.0,"a":1e400,"a":[true,null,"\u0000\ud800 é \\ \" \u2028"],"deep":[[[[[{}]]]]],"":""}"#;
    let payload = RawValue::from_string(payload.to_owned()).unwrap();
    let longest = RawValue::from_string(format!(r#"{{"x":"{}"}}"#, "é".repeat(500_000))).unwrap();
    let events = [
        ActivityEvent::new(
            Uuid::from_u128(1),
            "u\u{0}\"\\\n\u{7f}é𝄞",
            "t\u{1f}\"",
            moment(1),
            Some(&payload),
        ),
        ActivityEvent::new(Uuid::max(), "", "", moment(-62_167_219_200_000), None),
        ActivityEvent::new(Uuid::nil(), "u", "t", moment(253_402_300_799_999), Some(&longest)),
    ];
    let offered = (0..).zip(&events).map(|(offset, event)| record(offset, event.clone())).collect();
    assert_eq!(admit(&*store, 0, offered).await, [true; 3]);
    for event in &events {
        let found = store.get(event.id()).await.unwrap().unwrap();
        assert_eq!(found.event, *event);
        let by_user = EventQuery { user_id: Some(event.user_id().into_owned()), ..EventQuery::default() };
        let by_both = EventQuery { event_type: Some(event.event_type().into_owned()), ..by_user };
        let end = store.end().await.unwrap();
        let span = Span::before(end, None, by_both.direction);
        let page = store.read(&by_both, span, 10).await.unwrap();
        assert_eq!(page.events.iter().map(|found| &found.event).collect::<Vec<_>>(), [event]);
    }
    let ends =
        EventQuery { from: Some(moment(-62_167_219_200_000)), to: Some(moment(0)), ..EventQuery::default() };
    assert_eq!(listed_ids(&*store, &ends).await, [Uuid::max()]);
}

async fn listed_ids(store: &dyn EventStore, query: &EventQuery) -> Vec<Uuid> {
    let span = Span::before(store.end().await.unwrap(), None, query.direction);
    let page = store.read(query, span, 10).await.unwrap();
    page.events.iter().map(|found| found.id()).collect()
}

async fn a_wait_ends_with_the_event_that_another_admits(stores: &Stores) {
    let (here, there) = (stores.with_partitions(1).await, stores.open().await);
    assert_eq!(there.wait_for(Uuid::from_u128(9), Duration::from_millis(50)).await.unwrap(), None);
    let waiting = tokio::spawn({
        let there = Arc::clone(&there);
        async move { there.wait_for(Uuid::from_u128(1), Duration::from_secs(30)).await.unwrap() }
    });
    while !waiting.is_finished() {
        // Each time another one, until the wait is seen to have begun or ended.
        tokio::task::yield_now().await;
        if here.get(Uuid::from_u128(1)).await.unwrap().is_none() {
            admit(&*here, 0, records(0, [1])).await;
        }
    }
    assert_eq!(waiting.await.unwrap().unwrap().id(), Uuid::from_u128(1));
    assert!(there.wait_for(Uuid::from_u128(1), Duration::ZERO).await.unwrap().is_some());
}

async fn a_count_is_of_all_events(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    admit(&*store, 0, records(0, 0..1500)).await;
    admit(&*store, 1, records(0, 1400..1600)).await;
    eventually("1,600 events are counted", async || {
        store.stats().filter(|stats| stats.events == 1600 && stats.duplicates == 100)
    })
    .await;
    assert_eq!(listed(&*store, &of_type("login"), 700).await.len(), 1600);
    let counted = eventually("the first event is known", async || store.oldest_millis()).await;
    assert_eq!(counted, 0, "the timestamp of the first event");
}
