//! An event of this service as a topic has it: its value says all of it, and is written once.

use std::borrow::Cow;

use highwater_kafka as messaging;
use highwater_kafka::{Malformed, Payload, Record};
use uuid::Uuid;

use super::record;
use crate::store::Event;

impl messaging::Event for Event {
    const SELF_DESCRIBING: bool = true;

    fn key(&self) -> Cow<'_, str> {
        self.user_id()
    }

    fn event_type(&self) -> Cow<'_, str> {
        Event::event_type(self)
    }

    fn id(&self) -> Option<Uuid> {
        Some(Event::id(self))
    }
}

impl Payload for Event {
    fn write(self) -> Result<Vec<u8>, Malformed> {
        Ok(self.into_json())
    }

    fn read(record: &Record) -> Result<Self, Malformed> {
        record::parse(record)
    }
}
