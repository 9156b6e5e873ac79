//! The envelope of an event.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use highwater_kafka::{
    Context, Envelope, Event, Message, PublishError, Publisher, Receipt, Record, TypedProducer,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) to: String,
    pub(super) text: String,
}

impl Event for Greeting {
    const SCHEMA_VERSION: u32 = 3;

    fn key(&self) -> Cow<'_, str> {
        self.to.as_str().into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        "Greeting".into()
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Message>>);

#[async_trait]
impl Publisher for Kept {
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        self.0.lock().unwrap().push(message);
        Ok(Receipt { partition: 0, offset: Some(0) })
    }
}

fn greeting() -> Greeting {
    Greeting { to: "ann".to_owned(), text: "hello".to_owned() }
}

/// The record that a message becomes.
fn record(message: &Message) -> Record {
    let headers = message.headers.iter();
    Record {
        partition: 0,
        offset: 7,
        leader_epoch: None,
        timestamp: message.timestamp,
        key: message.key.clone().map(Bytes::from),
        value: message.value.clone().map(Bytes::from),
        headers: headers.map(|(name, value)| (name.clone(), Some(Bytes::from(value.clone())))).collect(),
    }
}

#[tokio::test]
async fn an_event_is_sent_under_its_key_as_json_with_the_headers_of_cloudevents() {
    let kept = Arc::new(Kept::default());
    let producer = TypedProducer::new(kept.clone(), "/greeter");
    let cause = Uuid::from_u128(9);
    let mut context = Context::correlated("request-1");
    context.causation_id = Some(cause);
    producer.send_in(&context, greeting()).await.unwrap();
    let message = kept.0.lock().unwrap().pop().unwrap();
    assert_eq!(message.key.as_deref(), Some(b"ann".as_slice()));
    assert_eq!(message.value.as_deref(), Some(br#"{"to":"ann","text":"hello"}"#.as_slice()));

    let header = |name: &str| {
        let found = message.headers.iter().find(|(header, _)| header == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("no {name}")).1.clone()).unwrap()
    };
    assert_eq!(header("ce_specversion"), "1.0");
    assert_eq!(header("ce_type"), "Greeting");
    assert_eq!(header("ce_source"), "/greeter");
    assert_eq!(header("ce_schemaversion"), "3");
    assert_eq!(header("ce_correlationid"), "request-1");
    assert_eq!(header("ce_causationid"), cause.to_string());
    assert_eq!(header("content-type"), "application/json");
    assert!(Uuid::try_parse(&header("ce_id")).is_ok());
    assert!(DateTime::parse_from_rfc3339(&header("ce_time")).is_ok());
}

#[tokio::test]
async fn what_was_sent_is_what_is_read_and_what_follows_belongs_to_the_same_request() {
    let kept = Arc::new(Kept::default());
    let producer = TypedProducer::new(kept.clone(), "/greeter");
    let sent = producer.envelope(&Context::correlated("request-1"), &greeting());
    producer.send_enveloped(&sent, greeting()).await.unwrap();
    let message = kept.0.lock().unwrap().pop().unwrap();
    let read = Envelope::read(&record(&message)).unwrap();
    assert_eq!(read.time.timestamp_millis(), sent.time.timestamp_millis());
    let mut expected = sent.clone();
    expected.time = read.time;
    assert_eq!(read, expected);
    let next = Context::caused_by(&read);
    assert_eq!((next.correlation_id.as_deref(), next.causation_id), (Some("request-1"), Some(sent.id)));
}

#[test]
fn headers_that_are_no_envelope_are_none() {
    let bare = Record {
        partition: 0,
        offset: 0,
        leader_epoch: None,
        timestamp: DateTime::UNIX_EPOCH,
        key: None,
        value: None,
        headers: Default::default(),
    };
    let text = |name: &str, value: &str| (name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())));
    let whole = vec![
        text("ce_specversion", "1.0"),
        text("ce_id", &Uuid::from_u128(1).to_string()),
        text("ce_type", "Greeting"),
        text("ce_source", "/greeter"),
    ];
    assert_eq!(Envelope::read(&bare), None);
    assert!(Envelope::read(&Record { headers: whole.iter().cloned().collect(), ..bare.clone() }).is_some());
    for missing in 0..whole.len() {
        let mut headers = whole.clone();
        headers.remove(missing);
        let headers = headers.into_iter().collect();
        assert_eq!(Envelope::read(&Record { headers, ..bare.clone() }), None, "without {}", whole[missing].0);
    }
    let null = whole.iter().map(|(name, _)| (name.clone(), None)).collect();
    assert_eq!(Envelope::read(&Record { headers: null, ..bare.clone() }), None);
    let later = whole.iter().cloned().map(|(name, value)| {
        let value = if name == "ce_specversion" { Some(Bytes::from_static(b"2.0")) } else { value };
        (name, value)
    });
    assert_eq!(Envelope::read(&Record { headers: later.collect(), ..bare }), None);
}
