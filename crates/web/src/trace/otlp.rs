//! The request of an OTLP exporter, in OTLP's JSON (opentelemetry-proto 1.x, `trace/v1/trace.proto` and `common/v1`).
//!
//! The types serialize as the protocol's messages of the same names; each has the fields that spans here use.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::context::{SpanId, TraceContext, TraceId};

/// The conventions that names and attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The longest text in a span, in bytes. A longer one is cut, since clients write some of them, and spans wait in memory.
const LONGEST: usize = 1024;

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) enum AnyValue {
    #[serde(rename = "stringValue")]
    Text(Arc<str>),
    /// Protocol Buffers' JSON writes 64-bit numbers as strings.
    #[serde(rename = "intValue", serialize_with = "in_quotes")]
    Number(i64),
    #[serde(rename = "boolValue")]
    Truth(bool),
}

impl From<&str> for AnyValue {
    fn from(text: &str) -> Self {
        Self::Text(cut(text).into())
    }
}

impl From<String> for AnyValue {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl From<&Arc<str>> for AnyValue {
    fn from(text: &Arc<str>) -> Self {
        Self::Text(Arc::clone(text))
    }
}

impl From<bool> for AnyValue {
    fn from(is: bool) -> Self {
        Self::Truth(is)
    }
}

impl From<i64> for AnyValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct KeyValue<Key = &'static str> {
    pub(super) key: Key,
    pub(super) value: AnyValue,
}

/// The kind of a span, by its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server = 2,
    Producer = 4,
    Consumer = 5,
}

/// A span.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    trace_id: TraceId,
    span_id: SpanId,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_state: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<SpanId>,
    pub(super) name: String,
    #[serde(serialize_with = "as_number")]
    kind: Kind,
    #[serde(rename = "startTimeUnixNano", serialize_with = "unix_nanos")]
    pub(super) start: SystemTime,
    #[serde(rename = "endTimeUnixNano", serialize_with = "unix_nanos")]
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<KeyValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

/// A link to another span.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    trace_id: TraceId,
    span_id: SpanId,
}

/// The status of a failed span.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// `STATUS_CODE_ERROR`.
    code: u8,
    message: String,
}

impl Status {
    pub(super) fn error(message: &str) -> Self {
        Self { code: 2, message: cut(message).to_owned() }
    }
}

impl From<&TraceContext> for Link {
    fn from(context: &TraceContext) -> Self {
        Self { trace_id: context.trace_id, span_id: context.span_id }
    }
}

impl Span {
    /// A span that begins and ends now.
    pub(super) fn new(
        kind: Kind,
        name: String,
        context: &TraceContext,
        parent: Option<&TraceContext>,
    ) -> Self {
        let now = SystemTime::now();
        Self {
            trace_id: context.trace_id,
            span_id: context.span_id,
            trace_state: context.state().map(Arc::from),
            parent_span_id: parent.map(|parent| parent.span_id),
            name,
            kind,
            start: now,
            end: now,
            attributes: Vec::new(),
            links: Vec::new(),
            status: None,
        }
    }

    /// Adds an attribute.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<AnyValue>) {
        self.attributes.push(KeyValue { key, value: value.into() });
    }
}

fn in_quotes<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn as_number<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*kind as u8)
}

fn unix_nanos<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
}

/// The attributes of the sender of spans.
pub(super) type Resource = Vec<KeyValue<String>>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportTraceServiceRequest<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Attributes<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
    schema_url: &'static str,
}

#[derive(Serialize)]
struct Attributes<'a> {
    attributes: &'a Resource,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSpans<'a> {
    scope: InstrumentationScope,
    spans: &'a [Box<RawValue>],
    schema_url: &'static str,
}

#[derive(Serialize)]
struct InstrumentationScope {
    name: &'static str,
    version: &'static str,
}

/// The body of a request to `/v1/traces`, of spans in JSON.
pub(super) fn request(resource: &Resource, spans: &[Box<RawValue>]) -> serde_json::Result<Vec<u8>> {
    let scope = InstrumentationScope { name: "highwater", version: env!("CARGO_PKG_VERSION") };
    let scope_spans = [ScopeSpans { scope, spans, schema_url: SCHEMA }];
    let resource = Attributes { attributes: resource };
    let resource_spans = [ResourceSpans { resource, scope_spans, schema_url: SCHEMA }];
    serde_json::to_vec(&ExportTraceServiceRequest { resource_spans })
}
