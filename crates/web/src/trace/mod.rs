//! Traces: the context of a request through its records to their processing (W3C Trace Context), and spans for a collector
//! (OTLP over HTTP). docs/operating/traces.md lists the spans, docs/internals/traces.md has the reasons.
//!
//! A request is answered [within][] its context, so the records it sends have the context, and its log lines the ids. The
//! records of a cluster get it by an interceptor, [`RecordTraces`]. Without a [`Tracer`] the context passes through
//! unchanged.

mod context;
mod exporter;
mod http;
mod kafka;
mod otlp;
mod sampling;
mod tracer;

use std::time::Duration;

use highwater_net::client::{Trust, Url};
use hyper::header::{HeaderName, HeaderValue};

pub use context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId, current, within};
pub use exporter::Exporting;
pub(crate) use http::RequestTrace;
pub use kafka::{RecordTraces, context_of};
pub use sampling::{Share, TraceSampler};
pub use tracer::Tracer;

/// The destination of spans, and the recorded traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// The collector's URL, usually with `/v1/traces` at its end.
    pub endpoint: Url,
    /// Further headers of each request, which may be secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time of a request.
    pub timeout: Duration,
    /// The trust in the collector's host, where it is asked over TLS.
    pub trust: Option<Trust>,
    /// The sampler of traces.
    pub sampler: TraceSampler,
    /// `service.name`.
    pub service_name: String,
    /// Further attributes of the service.
    pub resource: Vec<(String, String)>,
    /// The most spans that wait to be sent; further ones are dropped.
    pub max_queue: usize,
    /// The most spans of a request. A request is sent as soon as there are as many.
    pub max_batch: usize,
    /// The longest wait of fewer spans.
    pub delay: Duration,
}
