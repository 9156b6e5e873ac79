//! The contents of a dead letter.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{TimeZone, Utc};
use highwater_kafka::{
    DlqPublisher, Message, PublishError, Publisher, Receipt, Record,
    dead_letter::{ERROR, GROUP, OFFSET, PARTITION, TIMESTAMP, TOPIC, TRUNCATED},
};

/// Takes values up to a size, and remembers them.
struct Topic {
    most_bytes: usize,
    taken: Mutex<Vec<Message>>,
}

#[async_trait]
impl Publisher for Topic {
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        let headers = message.headers.iter().map(|(name, value)| name.len() + value.len());
        let size = message.value.as_ref().map_or(0, Vec::len) + message.key.as_ref().map_or(0, Vec::len);
        if size + headers.sum::<usize>() > self.most_bytes {
            return Err(PublishError::TooLarge("test".to_owned()));
        }
        self.taken.lock().unwrap().push(message);
        Ok(Receipt { partition: 0, offset: Some(0) })
    }
}

async fn send_to_dlq(record: &Record, most_bytes: usize) -> Message {
    let topic = Arc::new(Topic { most_bytes, taken: Mutex::default() });
    let dead_letters = DlqPublisher::new(Arc::clone(&topic) as Arc<dyn Publisher>, "source", "group-1");
    dead_letters.send_to_dlq(record, "not JSON").await.unwrap();
    let mut taken = topic.taken.lock().unwrap();
    assert_eq!(taken.len(), 1);
    taken.remove(0)
}

fn record(value: Option<Bytes>) -> Record {
    Record {
        partition: 2,
        offset: 41,
        leader_epoch: None,
        timestamp: Utc.timestamp_millis_opt(1_700_000_000_123).unwrap(),
        key: Some(Bytes::from_static(b"\xff\x00key")),
        value,
        headers: [("trace", Some(Bytes::from_static(b"abc"))), ("null", None)].into_iter().collect(),
    }
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let found = message.headers.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| std::str::from_utf8(value).unwrap())
}

#[tokio::test]
async fn keeps_key_value_and_headers_untouched_and_says_where_from_and_why() {
    let dead_letter = send_to_dlq(&record(Some(Bytes::from_static(b"\x80not utf-8"))), 10_000).await;
    assert_eq!(dead_letter.key.as_deref(), Some(&b"\xff\x00key"[..]));
    assert_eq!(dead_letter.value.as_deref(), Some(&b"\x80not utf-8"[..]));
    assert_eq!(header(&dead_letter, "trace"), Some("abc"));
    assert_eq!(header(&dead_letter, ERROR), Some("not JSON"));
    assert_eq!(header(&dead_letter, TOPIC), Some("source"));
    assert_eq!(header(&dead_letter, PARTITION), Some("2"));
    assert_eq!(header(&dead_letter, OFFSET), Some("41"));
    assert_eq!(header(&dead_letter, TIMESTAMP), Some("2023-11-14T22:13:20.123Z"));
    assert_eq!(header(&dead_letter, GROUP), Some("group-1"));
    assert_eq!(header(&dead_letter, TRUNCATED), None);
}

#[tokio::test]
async fn keeps_a_null_value_null() {
    assert_eq!(send_to_dlq(&record(None), 1000).await.value, None);
}

#[tokio::test]
async fn goes_as_position_and_truncated_value_when_it_does_not_fit() {
    let value = vec![b'x'; 3_000_000];
    let dead_letter = send_to_dlq(&record(Some(value.clone().into())), 1_000_000).await;
    let kept = dead_letter.value.as_deref().unwrap();
    assert!(!kept.is_empty() && value.starts_with(kept));
    assert_eq!(header(&dead_letter, TRUNCATED), Some("3000000"));
    assert_eq!(header(&dead_letter, OFFSET), Some("41"));
}

#[tokio::test]
async fn is_shortened_to_what_the_topic_takes_however_little_that_is() {
    let value = vec![b'x'; 100_000];
    for most_bytes in [20_000, 9_000, 2_000, 500, 300] {
        let dead_letter = send_to_dlq(&record(Some(value.clone().into())), most_bytes).await;
        let kept = dead_letter.value.as_deref().unwrap();
        assert!(value.starts_with(kept) && kept.len() < most_bytes, "{most_bytes}: {}", kept.len());
        assert_eq!(header(&dead_letter, TRUNCATED), Some("100000"));
        assert_eq!((header(&dead_letter, PARTITION), header(&dead_letter, OFFSET)), (Some("2"), Some("41")));
    }
}

#[tokio::test]
async fn says_why_as_far_as_the_topic_has_room_for_it() {
    let topic = Arc::new(Topic { most_bytes: 400, taken: Mutex::default() });
    let dead_letters = DlqPublisher::new(Arc::clone(&topic) as Arc<dyn Publisher>, "source", "group-1");
    dead_letters.send_to_dlq(&record(None), &"ö".repeat(5_000)).await.unwrap();
    let taken = topic.taken.lock().unwrap();
    let why = header(&taken[0], ERROR).unwrap();
    assert!(!why.is_empty() && "ö".repeat(5_000).starts_with(why), "{why}");
}
