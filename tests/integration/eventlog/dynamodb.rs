//! The store of details on a real DynamoDB.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use highwater_eventlog::{
    Bucket, DatabaseError, Details, DetailsStore as _, DynamoDbStore, LoggedEvent, MOST_ITEM_BYTES, Metadata,
    PutOutcome,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use uuid::Uuid;

use super::{
    settings::{self, migrated},
    severed::Way,
};

/// A store on a table of its own; none where there is no DynamoDB.
async fn store() -> Option<DynamoDbStore> {
    let config = migrated(settings::dynamodb()?).await;
    Some(DynamoDbStore::new(&config.dynamodb))
}

fn event(id: Uuid, details: Option<&str>) -> LoggedEvent {
    let details = details.map(|json| Details::kept(json.to_owned()).unwrap());
    let recorded_at = DateTime::from_timestamp_millis(1_777_629_600_123).unwrap();
    let metadata = Metadata {
        event_id: id,
        user_id: "ann ä😀".to_owned(),
        event_type: "LOGIN".to_owned(),
        timestamp: recorded_at,
        details_bytes: details.as_ref().map_or(0, Details::bytes),
    };
    LoggedEvent { metadata, details, recorded_at }
}

#[tokio::test]
async fn an_event_is_put_once_and_told_to_whoever_comes_later() {
    let Some(store) = store().await else { return };
    for details in [None, Some(r#"{"z":1.10,"a":[1E400,null],"z":"ä😀\u0000"}"#)] {
        let first = event(Uuid::new_v4(), details);
        assert_eq!(store.event(first.metadata.event_id).await.unwrap(), None);
        assert_eq!(store.put(&first).await.unwrap(), PutOutcome::New);
        let mut other = first.clone();
        other.metadata.user_id = "bob".to_owned();
        assert_eq!(store.put(&other).await.unwrap(), PutOutcome::Already(Box::new(first.clone())));
        assert_eq!(store.event(first.metadata.event_id).await.unwrap(), Some(first.clone()));
        let found = store.details(&[first.metadata.event_id, Uuid::new_v4()]).await.unwrap();
        assert_eq!(found.details.get(&first.metadata.event_id), first.details.as_ref());
        assert_eq!((found.details.len(), found.unprocessed), (first.details.iter().count(), vec![]));
    }
}

#[tokio::test]
async fn an_event_is_taken_back_unless_it_is_another_by_now() {
    let Some(store) = store().await else { return };
    let first = event(Uuid::new_v4(), Some("{\"z\":1}"));
    let id = first.metadata.event_id;
    store.put(&first).await.unwrap();
    let other = LoggedEvent { recorded_at: first.recorded_at + TimeDelta::milliseconds(1), ..first.clone() };
    for (taken_back, left) in [(&other, Some(&first)), (&first, None), (&first, None)] {
        store.take_back(taken_back).await.unwrap();
        assert_eq!(store.event(id).await.unwrap().as_ref(), left);
    }
}

#[tokio::test]
async fn connections_that_all_died_meanwhile_cost_one_attempt() {
    let Some(mut settings) = settings::dynamodb() else { return };
    migrated(settings.clone()).await;
    let there = settings["AWS_ENDPOINT_URL_DYNAMODB"].strip_prefix("http://").unwrap().to_owned();
    let way = Way::to(there).await;
    settings.insert("AWS_ENDPOINT_URL_DYNAMODB", format!("http://127.0.0.1:{}", way.port));
    let store = DynamoDbStore::new(&settings::config(settings).dynamodb);
    for round in 0..2 {
        let putting = (0..4).map(|_| event(Uuid::new_v4(), Some("1")));
        let putting = putting.map(async |event| store.put(&event).await);
        for outcome in futures::future::join_all(putting).await {
            assert_eq!(outcome, Ok(PutOutcome::New), "round {round}");
        }
        // As after a thaw: nothing comes of them, not even their end.
        way.silence();
        assert_eq!(store.event(Uuid::new_v4()).await, Ok(None), "round {round}");
    }
}

/// Where each connection is hung up in turn, or answered 400 with this text.
async fn answering(answers: Vec<Option<&'static str>>) -> DynamoDbStore {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = [0; 8_192];
            assert!(connection.read(&mut head).await.unwrap() > 0);
            let Some(body) = answer else { continue };
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let settings = HashMap::from([
        ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("SQLSERVER_USERNAME", "nobody".to_owned()),
        ("SQLSERVER_PASSWORD", "nothing".to_owned()),
    ]);
    DynamoDbStore::new(&settings::config(settings).dynamodb)
}

#[tokio::test]
async fn what_a_lost_attempt_may_have_done_is_not_denied_by_the_next() {
    const THROTTLED: &str =
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}"#;
    const EXPIRED: &str =
        r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}"#;
    for refusal in [THROTTLED, EXPIRED] {
        let one = event(Uuid::new_v4(), Some("1"));
        let outcome = answering(vec![Some(refusal)]).await.put(&one).await;
        assert!(outcome.as_ref().is_err_and(DatabaseError::did_nothing), "{outcome:?}");
        let outcome = answering(vec![None, Some(refusal)]).await.put(&one).await;
        assert!(matches!(outcome, Err(DatabaseError::Away(_))), "{outcome:?}");
        // A read may be asked again all the same.
        let outcome = answering(vec![None, Some(refusal)]).await.probe().await;
        assert!(outcome.as_ref().is_err_and(DatabaseError::did_nothing), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_item_may_be_as_large_as_it_is_counted_and_no_larger() {
    let Some(store) = store().await else { return };
    let empty = event(Uuid::new_v4(), Some("\"\"")).item_bytes();
    let of = |length: usize| event(Uuid::new_v4(), Some(&format!("\"{}\"", "x".repeat(length))));
    let largest = of(MOST_ITEM_BYTES - empty);
    assert_eq!(largest.item_bytes(), MOST_ITEM_BYTES);
    assert_eq!(store.put(&largest).await, Ok(PutOutcome::New));
    assert_eq!(store.put(&of(MOST_ITEM_BYTES - empty + 1)).await, Err(DatabaseError::TooLarge));
}

#[tokio::test]
async fn keys_that_one_answer_has_no_room_for_are_left_to_be_asked_again() {
    let Some(store) = store().await else { return };
    let mut ids = Vec::new();
    for _ in 0..50 {
        let large = event(Uuid::new_v4(), Some(&format!("\"{}\"", "x".repeat(400_000))));
        store.put(&large).await.unwrap();
        ids.push(large.metadata.event_id);
    }
    let found = store.details(&ids).await.unwrap();
    assert!(!found.unprocessed.is_empty(), "16 MB at most");
    assert_eq!(found.details.len() + found.unprocessed.len(), 50);
    let rest = store.details(&found.unprocessed).await.unwrap();
    assert_eq!(rest.details.len(), found.unprocessed.len());
}

#[tokio::test]
async fn a_bucket_has_what_was_recorded_in_its_hour_and_time() {
    let Some(store) = store().await else { return };
    let begin: DateTime<Utc> = DateTime::from_timestamp(1_777_629_600, 0).unwrap();
    let mut expected = Vec::new();
    for minute in 0..90 {
        let mut event = event(Uuid::from_u128(0xa << 124 | minute), None);
        event.recorded_at = begin + TimeDelta::minutes(minute as i64);
        store.put(&event).await.unwrap();
        if (10..60).contains(&minute) {
            expected.push(event.metadata.event_id);
        }
    }
    let ten = begin + TimeDelta::minutes(10);
    let mut seen = Vec::new();
    for bucket in Bucket::at(begin) {
        let mut page = None;
        loop {
            let found = store.recorded(bucket, ten, Bucket::end(begin), page).await.unwrap();
            seen.extend(found.ids);
            page = found.next;
            if page.is_none() {
                break;
            }
        }
    }
    seen.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_page_of_an_index_leads_to_the_next() {
    let Some(store) = store().await else { return };
    // Keys alone: a page of 1 MB has some thousands of them.
    let begin: DateTime<Utc> = DateTime::from_timestamp(1_777_629_600, 0).unwrap();
    let mut put = Vec::new();
    for number in 0..9_000_u128 {
        let mut event = event(Uuid::from_u128(number), None);
        event.recorded_at = begin;
        put.push(event);
    }
    // Few at a time: a server on this machine has no room for a hundred new connections at once.
    for events in put.chunks(16) {
        let putting = events.iter().map(|event| store.put(event));
        for outcome in futures::future::join_all(putting).await {
            outcome.unwrap();
        }
    }
    let bucket = Bucket::of(&put[0]);
    let (mut page, mut seen, mut pages) = (None, 0, 0);
    loop {
        let found = store.recorded(bucket, begin, begin + TimeDelta::seconds(1), page).await.unwrap();
        seen += found.ids.len();
        pages += 1;
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(seen, 9_000);
    assert!(pages > 1, "there was one page");
}

#[tokio::test]
async fn a_missing_table_is_refused_and_a_database_that_is_nowhere_is_away() {
    let Some(mut settings) = settings::dynamodb() else { return };
    let store = |settings| DynamoDbStore::new(&settings::config(settings).dynamodb);
    let refused = store(settings.clone()).probe().await;
    assert!(matches!(&refused, Err(DatabaseError::Refused(why)) if why.contains("migrate")), "{refused:?}");
    settings.insert("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1".to_owned());
    let away = store(settings).put(&event(Uuid::new_v4(), None)).await;
    assert!(matches!(away, Err(DatabaseError::Away(_))), "{away:?}");
}
