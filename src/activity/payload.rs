//! Events of this service as Kafka records: the record's value is the event's JSON.

use std::borrow::Cow;

use highwater_kafka as messaging;
use highwater_kafka::{Malformed, Payload, Record};
use uuid::Uuid;

use super::record;
use crate::store::ActivityEvent;

impl messaging::Event for ActivityEvent {
    const SELF_DESCRIBING: bool = true;

    fn key(&self) -> Cow<'_, str> {
        self.user_id()
    }

    fn event_type(&self) -> Cow<'_, str> {
        ActivityEvent::event_type(self)
    }

    fn id(&self) -> Option<Uuid> {
        Some(ActivityEvent::id(self))
    }
}

impl Payload for ActivityEvent {
    fn write(self) -> Result<Vec<u8>, Malformed> {
        Ok(self.into_json())
    }

    fn read(record: &Record) -> Result<Self, Malformed> {
        record::parse(record)
    }
}
