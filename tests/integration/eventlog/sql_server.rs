//! The store of metadata on a real SQL Server, or on a server with its protocol.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use highwater_eventlog::{
    DatabaseError, Insertion, ListingQuery, Metadata, MetadataStore as _, SqlServerStore,
};
use uuid::Uuid;

use super::{
    settings::{self, config, migrated},
    severed::Way,
};

async fn store() -> Option<SqlServerStore> {
    let config = migrated(settings::sql_server()?).await;
    Some(SqlServerStore::new(&config.sql_server))
}

fn begin() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_777_629_600_123).unwrap()
}

fn metadata(user_id: &str, at: DateTime<Utc>) -> Metadata {
    Metadata {
        event_id: Uuid::new_v4(),
        user_id: user_id.to_owned(),
        event_type: "LOGIN".to_owned(),
        timestamp: at,
        details_bytes: 17,
    }
}

/// A user that no other test has.
fn somebody() -> String {
    format!("user ä😀 {}", Uuid::new_v4())
}

#[tokio::test]
async fn a_row_is_inserted_once_and_says_what_it_was_given() {
    let Some(store) = store().await else { return };
    let user = somebody();
    let longest = format!("{user}{}", "😀".repeat(256 - user.chars().count()));
    for at in ["0001-01-01T00:00:00.000Z", "2026-05-01T10:00:00.123Z", "9999-12-31T23:59:59.999Z"] {
        let row = metadata(&longest, DateTime::parse_from_rfc3339(at).unwrap().to_utc());
        let row = Metadata { event_type: "😀".repeat(128), ..row };
        assert_eq!(store.insert(&row).await, Ok(Insertion::New), "{at}");
        let other = Metadata { user_id: "other".to_owned(), ..row.clone() };
        assert_eq!(store.insert(&other).await, Ok(Insertion::Already), "{at}");
        let found = store.find(&longest, row.event_id).await.unwrap();
        assert_eq!(found.map(|found| found.metadata), Some(row.clone()), "{at}");
        assert_eq!(store.find("other", row.event_id).await, Ok(None));
    }
}

#[tokio::test]
async fn of_many_that_insert_one_id_at_once_one_does() {
    let Some(store) = store().await else { return };
    let row = metadata(&somebody(), begin());
    let all = futures::future::join_all((0..16).map(|_| store.insert(&row))).await;
    assert_eq!(all.iter().filter(|outcome| **outcome == Ok(Insertion::New)).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|outcome| **outcome == Ok(Insertion::Already)).count(), 15, "{all:?}");
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest_over_ties() {
    let Some(store) = store().await else { return };
    let user = somebody();
    let mut inserted = Vec::new();
    for number in 0..40 {
        let row = metadata(&user, begin() + TimeDelta::milliseconds(number / 10));
        store.insert(&row).await.unwrap();
        inserted.push(row.event_id);
    }
    inserted.reverse();
    let query = ListingQuery::new(&user);
    for size in [1, 3, 10, 39, 40, 41] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let rows = store.list(&query, after, size).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = Some(last.position());
            seen.extend(rows.iter().map(|row| row.metadata.event_id));
        }
        assert_eq!(seen, inserted, "{size} a page");
    }
}

#[tokio::test]
async fn users_and_types_are_compared_exactly_and_times_by_the_millisecond() {
    let Some(store) = store().await else { return };
    let user = somebody();
    let mut ids = Vec::new();
    for (number, event_type) in ["LOGIN", "login", "LOGÍN", "LOGIN"].into_iter().enumerate() {
        let row = metadata(&user, begin() + TimeDelta::milliseconds(number as i64));
        store.insert(&Metadata { event_type: event_type.to_owned(), ..row.clone() }).await.unwrap();
        ids.push(row.event_id);
    }
    let listed = async |query: ListingQuery| -> Vec<Uuid> {
        let rows = store.list(&query, None, 10).await.unwrap();
        rows.into_iter().map(|row| row.metadata.event_id).collect()
    };
    assert!(listed(ListingQuery::new(user.to_uppercase())).await.is_empty());
    let logins = ListingQuery { event_type: Some("LOGIN".to_owned()), ..ListingQuery::new(&user) };
    assert_eq!(listed(logins.clone()).await, [ids[3], ids[0]]);
    let at = |millis| Some(begin() + TimeDelta::milliseconds(millis));
    assert_eq!(
        listed(ListingQuery { from: at(1), to: at(3), ..ListingQuery::new(&user) }).await,
        [ids[2], ids[1]]
    );
    assert_eq!(listed(ListingQuery { from: at(1), ..logins }).await, [ids[3]]);
    // A text that looks like a statement is stored as text.
    assert!(listed(ListingQuery::new("' OR 1=1 --")).await.is_empty());
}

#[tokio::test]
async fn a_hundred_ids_are_looked_for_at_once() {
    let Some(store) = store().await else { return };
    let user = somebody();
    let mut ids: Vec<Uuid> = (0..98).map(|_| Uuid::new_v4()).collect();
    let mut there = HashSet::new();
    for _ in 0..2 {
        let row = metadata(&user, begin());
        store.insert(&row).await.unwrap();
        there.insert(row.event_id);
        ids.push(row.event_id);
    }
    assert_eq!(store.known(&ids).await, Ok(there));
}

#[tokio::test]
async fn a_sweeps_mark_only_goes_forward() {
    let Some(store) = store().await else { return };
    let mark = store.swept_until().await.unwrap();
    let (before, after) = (mark - TimeDelta::hours(1), mark + TimeDelta::milliseconds(1));
    store.sweep_reached(before, mark - TimeDelta::minutes(1)).await.unwrap();
    assert!(store.swept_until().await.unwrap() >= mark);
    store.sweep_reached(before, after).await.unwrap();
    assert!(store.swept_until().await.unwrap() > mark);
    // Nothing has swept the events between.
    let now = Utc::now();
    store.sweep_reached(now + TimeDelta::days(1), now + TimeDelta::days(2)).await.unwrap();
    assert!(store.swept_until().await.unwrap() < now + TimeDelta::hours(1));
    // A sweeper whose clock is fast has seen nothing of what is yet to come.
    store.sweep_reached(mark, now + TimeDelta::days(2)).await.unwrap();
    assert!(store.swept_until().await.unwrap() < now + TimeDelta::hours(1));
}

#[tokio::test]
async fn an_event_is_found_by_its_id_alone_whoevers_it_is() {
    let Some(store) = store().await else { return };
    let row = metadata(&somebody(), begin());
    assert_eq!(store.of_id(row.event_id).await, Ok(None));
    store.insert(&row).await.unwrap();
    assert_eq!(store.of_id(row.event_id).await, Ok(Some(row)));
}

#[tokio::test]
async fn a_row_that_no_column_has_room_for_is_told_from_a_store_that_refuses() {
    let Some(store) = store().await else { return };
    let row = metadata(&"x".repeat(600), begin());
    let refused = store.insert(&row).await;
    assert!(matches!(refused, Err(DatabaseError::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn migrations_may_run_again_and_at_the_same_time() {
    let Some(settings) = settings::sql_server() else { return };
    let config = migrated(settings).await.sql_server;
    for outcome in futures::future::join_all((0..4).map(|_| SqlServerStore::migrate(&config))).await {
        assert_eq!(outcome.unwrap(), 0);
    }
    SqlServerStore::new(&config).probe().await.unwrap();
}

#[tokio::test]
async fn of_many_that_find_no_database_one_makes_it_and_all_have_it() {
    let Some(mut settings) = settings::sql_server() else { return };
    // It stays: there is nothing that removes one.
    settings.insert("SQLSERVER_DATABASE", format!("test_{}", Uuid::new_v4().simple()));
    let config = config(settings).sql_server;
    let outcomes = futures::future::join_all((0..4).map(|_| SqlServerStore::migrate(&config))).await;
    let mut applied: Vec<usize> = outcomes.into_iter().map(Result::unwrap).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 2]);
    SqlServerStore::new(&config).probe().await.unwrap();
}

#[tokio::test]
async fn connections_that_died_meanwhile_are_replaced_and_nobody_hears_of_it() {
    let Some(mut settings) = settings::sql_server() else { return };
    migrated(settings.clone()).await;
    let way = Way::to(format!("{}:{}", settings["SQLSERVER_HOST"], settings["SQLSERVER_PORT"])).await;
    settings.insert("SQLSERVER_HOST", "127.0.0.1".to_owned());
    settings.insert("SQLSERVER_PORT", way.port.to_string());
    let store = SqlServerStore::new(&config(settings).sql_server);
    let user = somebody();
    for round in 0..3 {
        let rows: Vec<_> = (0..4).map(|_| metadata(&user, begin())).collect();
        for outcome in futures::future::join_all(rows.iter().map(|row| store.insert(row))).await {
            assert_eq!(outcome, Ok(Insertion::New), "round {round}");
        }
        way.cut();
    }
    assert_eq!(store.list(&ListingQuery::new(&user), None, 100).await.unwrap().len(), 12);
}

#[tokio::test]
async fn a_server_that_is_nowhere_is_away_and_one_that_knows_no_such_login_refuses() {
    let Some(mut settings) = settings::sql_server() else { return };
    let store = |settings| SqlServerStore::new(&config(settings).sql_server);
    settings.insert("SQLSERVER_PASSWORD", "wrong".to_owned());
    let refused = store(settings.clone()).probe().await;
    assert!(matches!(refused, Err(DatabaseError::Refused(_) | DatabaseError::Away(_))), "{refused:?}");
    settings.insert("SQLSERVER_PORT", "1".to_owned());
    let away = store(settings).insert(&metadata("ann", begin())).await;
    assert!(matches!(away, Err(DatabaseError::Away(_))), "{away:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_the_settings_that_mend_it() {
    let Some(mut settings) = settings::sql_server() else { return };
    settings.insert("SQLSERVER_TRUST_CERTIFICATE", "no".to_owned());
    let refused = SqlServerStore::new(&config(settings).sql_server).probe().await;
    let said = format!("{:?}", refused.expect_err("a server that signed its own certificate"));
    assert!(said.contains("UnknownIssuer (trust the authority"), "{said}");
    assert!(!said.contains("trust_cert"), "{said}");
}
