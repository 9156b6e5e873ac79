//! The envelope of an event: its attributes in the record's headers.
//!
//! The names are those of CloudEvents' Kafka protocol binding 1.0.2, section 3.2 (binary content mode):
//! attributes with `ce_` before them, and `content-type`. `correlationid`, `causationid` and `schemaversion`
//! are extension attributes.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::{Event, Record};

/// The version of CloudEvents; any 1.x reads the same.
const SPEC: &str = "1.0";
const SPEC_VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const SOURCE: &str = "ce_source";
const TIME: &str = "ce_time";
const SCHEMA_VERSION: &str = "ce_schemaversion";
/// The header with the id of the request that an event belongs to, in any service.
pub const CORRELATION_ID: &str = "ce_correlationid";
const CAUSATION_ID: &str = "ce_causationid";
const CONTENT_TYPE: &str = "content-type";
const TRACEPARENT: &str = "traceparent";

/// The request and the event that a new event follows from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The request's id: the same for everything that follows from it, through all services.
    pub correlation_id: Option<String>,
    /// The id of the event that this one follows from.
    pub causation_id: Option<Uuid>,
    /// The place of that event in its trace, as its header has it.
    pub traceparent: Option<String>,
}

impl Context {
    /// The context of a request with that correlation id.
    pub fn correlated(id: impl Into<String>) -> Self {
        Self { correlation_id: Some(id.into()), ..Self::default() }
    }

    /// The context of events that follow from another: they belong to the same request, and to the same trace.
    pub fn caused_by(envelope: &Envelope) -> Self {
        Self {
            correlation_id: envelope.correlation_id.clone(),
            causation_id: Some(envelope.id),
            traceparent: envelope.traceparent.clone(),
        }
    }

    /// Whether the context is empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An event's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's id: the same in each copy of its record.
    pub id: Uuid,
    /// The event's type.
    pub event_type: String,
    /// The version of its schema.
    pub schema_version: u32,
    /// The sender, as a URI reference such as `/users`.
    pub source: String,
    /// The time at which it was made, to the millisecond.
    pub time: DateTime<Utc>,
    /// The id of the request that it belongs to.
    pub correlation_id: Option<String>,
    /// The id of the event that it follows from.
    pub causation_id: Option<Uuid>,
    /// Its place in its trace (W3C Trace Context), as the header of that name has it.
    pub traceparent: Option<String>,
}

impl Envelope {
    /// The envelope of an event that is made now.
    pub fn new<E: Event>(event: &E, source: &str, context: &Context) -> Self {
        Self {
            id: event.id().unwrap_or_else(Uuid::new_v4),
            event_type: event.event_type().into_owned(),
            schema_version: E::SCHEMA_VERSION,
            source: source.to_owned(),
            time: Utc::now(),
            correlation_id: context.correlation_id.clone(),
            causation_id: context.causation_id,
            traceparent: context.traceparent.clone(),
        }
    }

    /// Its headers.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::with_capacity(10);
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value.into_bytes()));
        add(SPEC_VERSION, SPEC.to_owned());
        add(ID, self.id.to_string());
        add(TYPE, self.event_type.clone());
        add(SOURCE, self.source.clone());
        add(TIME, self.time.to_rfc3339_opts(SecondsFormat::Millis, true));
        add(SCHEMA_VERSION, self.schema_version.to_string());
        if let Some(correlation) = &self.correlation_id {
            add(CORRELATION_ID, correlation.clone());
        }
        if let Some(causation) = self.causation_id {
            add(CAUSATION_ID, causation.to_string());
        }
        if let Some(traceparent) = &self.traceparent {
            add(TRACEPARENT, traceparent.clone());
        }
        add(CONTENT_TYPE, "application/json".to_owned());
        headers
    }

    /// The envelope of a record; `None` if the headers lack one of CloudEvents' attributes. An extension attribute that
    /// cannot be read is left out.
    pub fn read(record: &Record) -> Option<Self> {
        if record.headers.is_empty() || !text(record, SPEC_VERSION)?.starts_with("1.") {
            return None;
        }
        let time = text(record, TIME).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Some(Self {
            id: Uuid::try_parse(text(record, ID)?).ok()?,
            event_type: text(record, TYPE)?.to_owned(),
            source: text(record, SOURCE)?.to_owned(),
            time: time.map_or(record.timestamp, |time| time.with_timezone(&Utc)),
            schema_version: text(record, SCHEMA_VERSION).and_then(|text| text.parse().ok()).unwrap_or(1),
            correlation_id: correlation_of(record).map(str::to_owned),
            causation_id: text(record, CAUSATION_ID).and_then(|text| Uuid::try_parse(text).ok()),
            traceparent: traceparent_of(record).map(str::to_owned),
        })
    }
}

/// The `traceparent` of a record, of the length that W3C's versions may have; the last one, which is also the one that the
/// record's processing uses.
fn traceparent_of(record: &Record) -> Option<&str> {
    let text = std::str::from_utf8(record.headers.last(TRACEPARENT)?).ok()?;
    (text.len() <= 128).then_some(text)
}

/// The correlation id of a record, if it has one.
pub fn correlation_of(record: &Record) -> Option<&str> {
    text(record, CORRELATION_ID)
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    std::str::from_utf8(record.headers.first(name)?).ok()
}
