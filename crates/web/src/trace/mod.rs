//! Traces: the context of a request through its records to what is processed (W3C Trace Context), and spans for a collector
//! (OTLP over HTTP). docs/operating/traces.md lists the spans, docs/internals/traces.md has the reasons.
//!
//! A request is answered [within][] its context, so what it sends carries that, and its log lines have the ids. The records
//! of a cluster get it by an interceptor, [`RecordTraces`]. Without a [`Tracer`] the context passes through, as it came.

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

/// Where spans go, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// The collector's URL, `/v1/traces` at its end as a rule.
    pub endpoint: Url,
    /// Further headers of each request, which may be secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// Whom the collector must prove to be, where it is asked over TLS.
    pub trust: Option<Trust>,
    /// The traces that are recorded.
    pub sampler: TraceSampler,
    /// `service.name`.
    pub service_name: String,
    /// Further attributes of the service.
    pub resource: Vec<(String, String)>,
    /// The most spans that wait to be sent; beyond it they are dropped.
    pub max_queue: usize,
    /// The most spans of a request, for which a request is sent at once.
    pub max_batch: usize,
    /// How long fewer spans wait.
    pub delay: Duration,
}
