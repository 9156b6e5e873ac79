//! A user's events are erased, and nothing brings them back.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chrono::Utc;
use highwater::store::{Erasure, EventStore};
use highwater_kafka::{DlqPublisher, Record};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stores::{
    Stores, admit, all, begin, event, listed, newest_first, of_type, of_user, on_both_stores, record,
};
use crate::support::{Acknowledged, TestApp, TestCluster, eventually, switch};

on_both_stores! {
    an_erased_users_events_leave_and_their_copies_are_known,
    what_came_after_an_erasure_stays_when_the_erasure_is_read_again,
    thousands_of_events_are_erased_from_among_those_of_others,
    an_event_that_is_being_erased_while_its_copy_comes_is_not_stored_again,
    neither_a_restart_nor_a_rewind_nor_a_redrive_brings_an_erased_event_back,
    of_events_that_are_posted_meanwhile_those_before_the_marker_are_erased,
    events_from_before_a_change_of_the_number_of_partitions_are_erased,
}

const TOKEN: &str = "a-token-of-24-characters";

/// Erases what the user has in the partition before that offset, as the marker there says.
async fn erase(store: &dyn EventStore, partition: i32, user_id: &str, offset: i64) {
    let erasure = Erasure { user_id: user_id.to_owned(), offset };
    store.erase(partition, &erasure, (offset + 1).into()).await.unwrap();
}

async fn an_erased_users_events_leave_and_their_copies_are_known(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    let user = "a\"da\\\u{0}";
    let some = [(1, user), (2, "eve"), (3, user)];
    let records = (0..).zip(some).map(|(offset, (number, user))| record(offset, event(number, user, "A")));
    assert_eq!(admit(&*store, 0, records.collect()).await, [true; 3]);
    assert_eq!(admit(&*store, 1, vec![record(0, event(4, user, "A"))]).await, [true]);
    erase(&*store, 0, user, 3).await;
    assert_eq!(all(&*store).await, [2, 4], "what is in another partition awaits the marker there");
    assert_eq!(store.get(Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(listed(&*store, &of_user(user), 10).await, [4]);
    assert_eq!(listed(&*store, &of_type("a"), 10).await, [2, 4]);
    erase(&*store, 1, user, 1).await;
    assert_eq!(all(&*store).await, [2]);
    let erasures = store.erasures();
    assert_eq!((erasures.erasures, erasures.events), (2, 3));
    eventually("the count follows", async || (store.stats().unwrap().events == 1).then_some(())).await;

    // Copies, in either partition; and new ones of the same user.
    let copies = vec![record(4, event(1, user, "A")), record(5, event(3, "eve", "A"))];
    assert_eq!(admit(&*store, 0, copies).await, [false; 2]);
    let copies = vec![record(2, event(3, user, "A")), record(3, event(5, user, "A"))];
    assert_eq!(admit(&*store, 1, copies).await, [false, true]);
    assert_eq!(listed(&*store, &of_user(user), 10).await, [5]);
}

async fn what_came_after_an_erasure_stays_when_the_erasure_is_read_again(stores: &Stores) {
    let store = stores.with_partitions(1).await;
    admit(&*store, 0, vec![record(0, event(1, "ada", "A"))]).await;
    erase(&*store, 0, "ada", 1).await;
    admit(&*store, 0, vec![record(2, event(2, "ada", "A")), record(3, event(3, "eve", "A"))]).await;
    // As another process does that takes the partition up, and goes back.
    let store = stores.open().await;
    begin(&*store, 0).await;
    store.move_to(0, 0.into()).await.unwrap();
    assert!(store.erased_below(0) > 0);
    for (offset, user, is_erased) in [(0, "ada", true), (0, "eve", false), (2, "ada", false)] {
        assert_eq!(store.is_erased(0, user, offset).await.unwrap(), is_erased, "{user} at {offset}");
    }
    erase(&*store, 0, "ada", 1).await;
    assert_eq!(all(&*store).await, [2, 3]);
    // A later one is another.
    erase(&*store, 0, "ada", 4).await;
    assert_eq!(all(&*store).await, [3]);
    assert!(store.is_erased(0, "ada", 2).await.unwrap());
}

async fn thousands_of_events_are_erased_from_among_those_of_others(stores: &Stores) {
    const EVENTS: u32 = 15_000;
    let store = stores.with_partitions(1).await;
    let user = |number: u32| ["ada", "ada", "eve"][number as usize % 3];
    for start in (0..EVENTS).step_by(1000) {
        let some =
            (start..start + 1000).map(|number| record(number.into(), event(number, user(number), "A")));
        admit(&*store, 0, some.collect()).await;
    }
    erase(&*store, 0, "ada", EVENTS.into()).await;
    let left: Vec<u32> = (0..EVENTS).filter(|number| user(*number) == "eve").collect();
    for query in [of_type("A"), of_user("eve")] {
        assert_eq!(listed(&*store, &query, 700).await, left);
        let backward = listed(&*store, &newest_first(query), 700).await;
        assert!(backward.iter().rev().eq(&left));
    }
    assert!(listed(&*store, &of_user("ada"), 10).await.is_empty());
    let wanted = i64::from(EVENTS / 3);
    eventually("the count follows", async || (store.stats().unwrap().events as i64 == wanted).then_some(()))
        .await;
}

async fn an_event_that_is_being_erased_while_its_copy_comes_is_not_stored_again(stores: &Stores) {
    let store = stores.with_partitions(2).await;
    let records =
        |offset| (offset..).zip(0..6_000).map(|(offset, number)| record(offset, event(number, "ada", "A")));
    admit(&*store, 0, records(0).collect()).await;
    let is_over = AtomicBool::new(false);
    let erasing = async {
        erase(&*store, 0, "ada", 6_000).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let copying = async {
        let mut offset = 0;
        while !is_over.load(Ordering::Relaxed) {
            let copies = admit(&*store, 1, records(offset).collect()).await;
            assert!(copies.iter().all(|is_new| !is_new), "a copy was stored");
            offset += 6_000;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(erasing, copying);
    assert!(all(&*store).await.is_empty());
}

/// The service on these stores, with an admin, and these further settings.
pub(super) async fn start(stores: &Stores, cluster: &TestCluster, further: &[(&str, &str)]) -> TestApp {
    let (url, database) = (switch("TEST_POSTGRES_URL").unwrap_or_default(), stores.database().await);
    let mut settings = vec![("ADMIN_TOKEN", TOKEN)];
    if let Some((config, _)) = &database {
        settings.extend([("STORE_URL", url.as_str()), ("STORE_SCHEMA", &config.schema)]);
    }
    settings.extend(further);
    let app = TestApp::start_with(cluster, &settings).await;
    app.until_ready().await;
    app
}

/// Has a user's events erased. Returns the receipt, once Kafka has it.
pub(super) async fn ask_to_erase(app: &TestApp, user_id: &str) -> Value {
    let answer = app.ask(Method::DELETE, &format!("/api/events/user/{user_id}"), Some(TOKEN), None).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let receipt: Value = answer.json().await.unwrap();
    assert_eq!(location, format!("/api/events/erasures/{}", receipt["erasureId"].as_str().unwrap()));
    receipt
}

async fn receipt(app: &TestApp, id: &Value) -> Value {
    let path = format!("/api/events/erasures/{}", id.as_str().unwrap());
    let answer = app.ask(Method::GET, &path, Some(TOKEN), None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("highwater-partitions"));
    answer.json().await.unwrap()
}

/// Waits until each marker is applied, as one of the instances says.
pub(super) async fn until_erased(apps: &[&TestApp], erasure: &Value) {
    let markers = erasure["partitions"].as_array().unwrap().len();
    eventually("it is erased in each partition", async || {
        let mut applied = vec![false; markers];
        for app in apps {
            let receipt = receipt(app, &erasure["erasureId"]).await;
            for (index, marker) in receipt["partitions"].as_array().unwrap().iter().enumerate() {
                applied[index] |= marker["state"] == "applied";
            }
            assert_eq!(
                receipt["state"] == "done",
                receipt["partitions"].as_array().unwrap().iter().all(|marker| marker["state"] == "applied")
            );
        }
        applied.iter().all(|applied| *applied).then_some(())
    })
    .await;
}

async fn is_there(app: &TestApp, event: &Acknowledged) -> bool {
    app.get(&format!("/events/processed/{}", event.id)).await.status() == StatusCode::OK
}

/// Sets a record aside, as an older version of the program would have that could not read it.
async fn set_aside(cluster: &TestCluster, at: &Acknowledged, user_id: &str) -> String {
    let id = Uuid::new_v4().to_string();
    let value = json!({"eventId": id, "userId": user_id, "eventType": "LOGIN"}).to_string();
    let record = Record {
        partition: at.partition,
        offset: at.offset,
        leader_epoch: None,
        timestamp: Utc::now(),
        key: Some(Bytes::copy_from_slice(user_id.as_bytes())),
        value: Some(value.into()),
        headers: Default::default(),
    };
    let client = cluster.client();
    let producer = client.producer(client.dead_letter_topic());
    let dead_letters = DlqPublisher::new(producer, &cluster.topic, &cluster.group);
    dead_letters.send_to_dlq(&record, "unknown to an older version").await.unwrap();
    id
}

async fn neither_a_restart_nor_a_rewind_nor_a_redrive_brings_an_erased_event_back(stores: &Stores) {
    let mut cluster = TestCluster::start().await;
    let (one, two) = (start(stores, &cluster, &[]).await, start(stores, &cluster, &[]).await);
    let mut erased = Vec::new();
    let mut kept = Vec::new();
    for number in 0..6 {
        erased.push(one.generate("ada").await);
        kept.push(one.generate(&format!("user-{number}")).await);
    }
    cluster.until_committed_to_the_end().await;
    for token in [None, Some("another token")] {
        let refused = one.ask(Method::DELETE, "/api/events/user/ada", token, None).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }

    let erasure = ask_to_erase(&two, "ada").await;
    assert_eq!(erasure["partitions"].as_array().unwrap().len(), 3);
    until_erased(&[&one, &two], &erasure).await;
    kept.push(one.generate("ada").await);
    // An id that was erased is one that was stored.
    let again = json!({"userId": "ada", "eventType": "LOGIN", "eventId": erased[0].id});
    one.generate_from(&again).await;
    let from_before = set_aside(&cluster, &erased[2], "ada").await;
    let from_after = set_aside(&cluster, kept.last().unwrap(), "ada").await;
    let of_another = set_aside(&cluster, &erased[3], "eve").await;
    assert_eq!(one.redrive(TOKEN, &json!({"all": true})).await["redriven"], 3);
    let redriven = [from_after, of_another];
    let is_as_it_should_be = async |cluster: &TestCluster, apps: &[&TestApp]| {
        cluster.until_committed_to_the_end().await;
        let mut found = Vec::new();
        for app in apps {
            found.extend(app.processed().await);
        }
        found.sort();
        found.dedup();
        let mut expected: Vec<_> =
            kept.iter().map(|event| event.id.clone()).chain(redriven.clone()).collect();
        expected.sort();
        assert!(!found.contains(&from_before), "a redrive brought it back");
        assert_eq!(found, expected);
    };
    is_as_it_should_be(&cluster, &[&one, &two]).await;
    one.stop().await;
    two.kill();

    // A start reads the log again, or goes on where the database is.
    let app = start(stores, &cluster, &[]).await;
    is_as_it_should_be(&cluster, &[&app]).await;
    until_erased(&[&app], &erasure).await;
    app.stop().await;
    // Another group reads it from its beginning; so does a database whose positions are set back.
    if let Some((_, database)) = stores.database().await {
        database.batch_execute("UPDATE partitions SET next = base").await.unwrap();
    }
    cluster.group.push_str("-rewound");
    let app = start(stores, &cluster, &[("OFFSET_RESET", "earliest")]).await;
    is_as_it_should_be(&cluster, &[&app]).await;
    app.stop().await;
}

async fn of_events_that_are_posted_meanwhile_those_before_the_marker_are_erased(stores: &Stores) {
    let cluster = TestCluster::start().await;
    let app = start(stores, &cluster, &[]).await;
    let is_over = AtomicBool::new(false);
    let posting = async || {
        let mut posted = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            posted.push(app.generate("ada").await);
        }
        // One comes after it, however the posts and the erasure fell.
        posted.push(app.generate("ada").await);
        posted
    };
    let erasing = async {
        let first = app.generate("ada").await;
        app.until_processed(&first.id).await;
        let erasure = ask_to_erase(&app, "ada").await;
        is_over.store(true, Ordering::Relaxed);
        (first, erasure)
    };
    let (one, two, three, (first, erasure)) = tokio::join!(posting(), posting(), posting(), erasing);
    until_erased(&[&app], &erasure).await;
    cluster.until_committed_to_the_end().await;
    let posted: Vec<_> = [vec![first], one, two, three].concat();
    let marker = |partition: i32| {
        let markers = erasure["partitions"].as_array().unwrap();
        let marker = markers.iter().find(|marker| marker["partition"] == partition).unwrap();
        marker["offset"].as_i64().unwrap()
    };
    for event in &posted {
        assert_eq!(is_there(&app, event).await, event.offset > marker(event.partition), "{event:?}");
    }
    app.stop().await;
}

async fn events_from_before_a_change_of_the_number_of_partitions_are_erased(stores: &Stores) {
    let cluster = TestCluster::start().await;
    let app = start(stores, &cluster, &[]).await;
    let mut events = Vec::new();
    for number in 0..20 {
        events.push((number, app.generate(&format!("user-{number}")).await));
    }
    cluster.create_partitions(7).await;
    // Some user's next event goes elsewhere.
    let (number, before, after) = eventually("a user has another partition", async || {
        for (number, before) in &events {
            let after = app.generate(&format!("user-{number}")).await;
            if after.partition != before.partition {
                return Some((*number, before.clone(), after));
            }
        }
        None
    })
    .await;
    for event in [&before, &after] {
        app.until_processed(&event.id).await;
    }
    let erasure = ask_to_erase(&app, &format!("user-{number}")).await;
    assert_eq!(erasure["partitions"].as_array().unwrap().len(), 7);
    until_erased(&[&app], &erasure).await;
    for event in [&before, &after] {
        assert!(!is_there(&app, event).await, "{event:?}");
    }
    app.stop().await;
}
