//! What a topic's records are: an event's key, its type, and its way to bytes and back.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use uuid::Uuid;

use super::{Envelope, Record};

/// Something that happened, as its producer and its consumers speak of it.
///
/// A type that serde can write and read needs no more than this to be a [`Payload`].
pub trait Event: Sized + Send + Sync + 'static {
    /// The version of its schema. A higher one may have fields that a lower one has not; readers ignore what
    /// they do not know. State that is kept by the log is no such reader: there a higher one is for who knows it.
    const SCHEMA_VERSION: u32 = 1;

    /// Whether the value itself says what the envelope's headers would: id, type and time. They are then sent
    /// only with an event that has something more to tell: what it was caused by, or what it belongs to.
    const SELF_DESCRIBING: bool = false;

    /// What decides the partition: events of one key are read in the order in which they were written.
    fn key(&self) -> Cow<'_, str>;

    /// Its type, as CloudEvents' `type` names it.
    fn event_type(&self) -> Cow<'_, str>;

    /// Its own id; one is made for an event that has none.
    fn id(&self) -> Option<Uuid> {
        None
    }
}

/// An event as a record's value. The default is JSON by serde; a type may bring a way of its own.
pub trait Payload: Event {
    /// The record's value.
    ///
    /// # Errors
    ///
    /// The event cannot be written, which is a fault of its type.
    fn write(self) -> Result<Vec<u8>, Malformed>;

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// The record is no such event, and never will be.
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

/// Why a record is no event: it can never be processed. Short, for the log and the dead letter's header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// An event as it was read, with what is known of it beside its value.
#[derive(Debug)]
pub struct Received<'a, P> {
    /// The event.
    pub event: P,
    /// What its headers say; `None` where they are no envelope.
    pub envelope: Option<Envelope>,
    /// The record it came in.
    pub record: &'a Record,
}
