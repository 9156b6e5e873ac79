//! Events from a topic that anyone may write to, and from clients.

use bytes::Bytes;
use chrono::DateTime;
use highwater::activity::{AllowedTypes, NewEvent, record::parse};
use highwater_kafka::Record;

/// The first byte says whose event it is.
pub fn event(data: &[u8]) {
    let Some((kind, value)) = data.split_first() else { return };
    match kind % 3 {
        0 => of_a_record(value),
        1 => of_a_client(value, AllowedTypes::Any),
        _ => of_a_client(value, AllowedTypes::Only(&["LOGIN".to_owned()])),
    }
}

/// A record that is an event stays that event when it is read again.
fn of_a_record(value: &[u8]) {
    let record = |value| Record {
        partition: 0,
        offset: 0,
        leader_epoch: None,
        timestamp: DateTime::UNIX_EPOCH,
        key: None,
        value: Some(value),
        headers: Default::default(),
    };
    match parse(&record(Bytes::copy_from_slice(value))) {
        Ok(event) => {
            let again =
                parse(&record(Bytes::copy_from_slice(event.json()))).expect("what was written is an event");
            assert_eq!(again.json(), event.json());
            assert_eq!((again.id(), again.timestamp_millis()), (event.id(), event.timestamp_millis()));
        }
        Err(reason) => {
            let reason = reason.to_string();
            assert!(reason.len() < 1_000 && !reason.contains(char::is_control), "{reason:?}");
        }
    }
}

fn of_a_client(body: &[u8], accepts: AllowedTypes<'_>) {
    let Ok(body) = std::str::from_utf8(body) else { return };
    if let Ok(event) = NewEvent::read(body, accepts) {
        assert!(!event.user_id.trim().is_empty() && !event.event_type.trim().is_empty());
    }
}
