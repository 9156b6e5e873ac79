//! The mapping of records to events, and of outcomes back to records.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use highwater_kafka::{DecodingHandler, EventHandler, Outcome, Poison, Received, Record, RecordHandler as _};

use super::envelope::Greeting;

/// Does as the greeting says.
#[derive(Default)]
struct Obeys(Mutex<Vec<i64>>);

#[async_trait]
impl EventHandler<Greeting> for Obeys {
    async fn handle(&self, received: Received<'_, Greeting>) -> Outcome {
        self.0.lock().unwrap().push(received.record.offset);
        match received.event.text.as_str() {
            "poison" => Outcome::Poison("as told".to_owned()),
            "retry" => Outcome::Retry("as told".to_owned()),
            _ => Outcome::Done,
        }
    }
}

fn records(texts: &[&str]) -> Vec<Record> {
    let value = |text: &str| match text {
        "malformed" => "{".to_owned(),
        text => format!(r#"{{"to":"ann","text":"{text}","later":1}}"#),
    };
    let record = |(offset, text): (usize, &&str)| Record {
        partition: 1,
        offset: offset as i64,
        leader_epoch: None,
        timestamp: DateTime::UNIX_EPOCH,
        key: None,
        value: Some(Bytes::from(value(text))),
        headers: Default::default(),
    };
    texts.iter().enumerate().map(record).collect()
}

fn places(poison: &[Poison]) -> Vec<usize> {
    let mut places: Vec<usize> = poison.iter().map(|poison| poison.index).collect();
    places.sort_unstable();
    places
}

#[tokio::test]
async fn each_event_is_handled_in_order_and_what_is_none_is_poison_at_its_own_place() {
    let obeys = Arc::new(Obeys::default());
    let outcome = DecodingHandler::new(obeys.clone())
        .handle(&records(&["malformed", "hello", "poison", "malformed", "bye"]))
        .await;
    assert_eq!(places(&outcome.poison), [0, 2, 3]);
    assert!(outcome.retry_from.is_none());
    assert_eq!(*obeys.0.lock().unwrap(), [1, 2, 4]);
}

#[tokio::test]
async fn a_retry_stops_at_its_record_and_settles_what_is_before_it() {
    let obeys = Arc::new(Obeys::default());
    let outcome = DecodingHandler::new(obeys.clone())
        .handle(&records(&["malformed", "poison", "retry", "malformed", "bye"]))
        .await;
    assert_eq!(outcome.retry_from.unwrap().index, 2);
    assert_eq!(places(&outcome.poison), [0, 1]);
    assert_eq!(*obeys.0.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_long_batch_keeps_its_places() {
    let mut texts = vec!["hello"; 5000];
    (texts[1023], texts[1024], texts[4999]) = ("poison", "malformed", "poison");
    let obeys = Arc::new(Obeys::default());
    let outcome = DecodingHandler::new(obeys.clone()).handle(&records(&texts)).await;
    assert_eq!(places(&outcome.poison), [1023, 1024, 4999]);
    assert_eq!(obeys.0.lock().unwrap().len(), 4999);

    texts[3000] = "retry";
    let outcome = DecodingHandler::new(obeys).handle(&records(&texts)).await;
    assert_eq!(outcome.retry_from.unwrap().index, 3000);
    assert_eq!(places(&outcome.poison), [1023, 1024]);
}
