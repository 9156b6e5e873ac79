//! The events of a topic: their key, their type, and their encoding.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use uuid::Uuid;

use super::{Envelope, Record};

/// An event's key, type and id. A type that also implements serde's traits is a [`Payload`].
pub trait Event: Sized + Send + Sync + 'static {
    /// The version of the schema. A higher one may have more fields, which consumers ignore. An event-sourced table does
    /// not: it rejects a version that is higher than its own.
    const SCHEMA_VERSION: u32 = 1;

    /// Whether the value itself has the envelope's id, type and time. The headers are then sent only with an event that
    /// has a correlation or causation id.
    const SELF_DESCRIBING: bool = false;

    /// The key, which chooses the partition: events of one key are read in the order in which they were written.
    fn key(&self) -> Cow<'_, str>;

    /// CloudEvents' `type`.
    fn event_type(&self) -> Cow<'_, str>;

    /// CloudEvents' `id`; with `None`, one is made.
    fn id(&self) -> Option<Uuid> {
        None
    }
}

/// An event's encoding as a record's value: JSON by serde, or the type's own.
pub trait Payload: Event {
    /// Encodes the event as a record's value.
    ///
    /// # Errors
    ///
    /// The event cannot be encoded, which is a fault of its type.
    fn write(self) -> Result<Vec<u8>, Malformed>;

    /// Decodes a record.
    ///
    /// # Errors
    ///
    /// The record is no such event.
    fn read(record: &Record) -> Result<Self, Malformed>;
}

impl<E: Event + Serialize + DeserializeOwned> Payload for E {
    fn write(self) -> Result<Vec<u8>, Malformed> {
        serde_json::to_vec(&self).map_err(|error| Malformed(error.to_string()))
    }

    fn read(record: &Record) -> Result<Self, Malformed> {
        let value = record.value.as_deref().ok_or_else(|| Malformed("the value is null".to_owned()))?;
        serde_json::from_slice(value).map_err(|error| Malformed(error.to_string()))
    }
}

/// The reason why a record is no event and can never be processed: short, for the log and the dead letter's header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// An event that was read, with its envelope and its record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<'a, P> {
    /// The event.
    pub event: P,
    /// Its envelope; `None` if the record has no headers of an envelope.
    pub envelope: Option<Envelope>,
    /// Its record.
    pub record: &'a Record,
}
