//! Counts requests and answers, and measures their time.
//!
//! A request costs two clock readings and five atomic additions: the counter of each route, method and status is looked up
//! at its first request, and then found by its index.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::{Method, StatusCode};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::Collector, proto::MetricFamily,
};

use super::{Paths, RefusalListener, TurnedAway, limiter::ConnectionLimiter};
use crate::{
    auth::AccessGate,
    trace::{TraceId, Tracer},
};

/// The upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const DURATIONS: &str = "highwater_http_request_duration_seconds";
/// The methods of all routes.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// The statuses with an index; others cost a lookup.
const STATUSES: [u16; 22] = [
    200, 201, 202, 204, 207, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 421, 422, 429, 431, 500,
    503,
];
/// The label of an unknown path or method, so that clients cannot make up label values.
const OTHER: &str = "other";

/// The requests of a server, by route, method and status.
pub struct Traffic {
    paths: &'static Paths,
    requests: IntCounterVec,
    durations: HistogramVec,
    /// The metrics of each route and method. Those of unknown paths are last.
    routes: Box<[RouteMetrics]>,
    /// The open connections, once the server listens.
    limiter: OnceLock<Arc<ConnectionLimiter>>,
    /// The gate, for the counts of its clients.
    gate: OnceLock<Arc<AccessGate>>,
    tracer: OnceLock<Tracer>,
    refusals: Option<Arc<dyn RefusalListener>>,
}

/// The metrics of one route and method.
#[derive(Default)]
struct RouteMetrics {
    durations: OnceLock<Histogram>,
    /// The exemplars of the histogram's buckets, by their indexes.
    exemplars: Mutex<BTreeMap<usize, Exemplar>>,
    requests: [OnceLock<IntCounter>; STATUSES.len()],
}

/// The last request of a bucket whose trace is recorded.
#[derive(Debug, Clone, Copy)]
struct Exemplar {
    trace: TraceId,
    seconds: f64,
    at: SystemTime,
}

impl Traffic {
    /// The counters of the patterns of these paths.
    ///
    /// # Errors
    ///
    /// None: the names of the metrics are well-formed.
    pub fn new(paths: &'static Paths) -> prometheus::Result<Self> {
        let requests = Opts::new("highwater_http_requests_total", "Requests answered.");
        let durations =
            HistogramOpts::new(DURATIONS, "From a request's head to the beginning of its answer.");
        let routes = (paths.all().count() + 1) * (METHODS.len() + 1);
        Ok(Self {
            paths,
            requests: IntCounterVec::new(requests, &["route", "method", "status"])?,
            durations: HistogramVec::new(durations.buckets(BUCKETS.to_vec()), &["route", "method"])?,
            routes: std::iter::repeat_with(RouteMetrics::default).take(routes).collect(),
            limiter: OnceLock::new(),
            gate: OnceLock::new(),
            tracer: OnceLock::new(),
            refusals: None,
        })
    }

    /// The same, with a listener that is told of the refused requests that no route saw.
    #[must_use]
    pub fn with_refusals(self, refusals: Arc<dyn RefusalListener>) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// A request was refused before any route saw it.
    pub(super) fn turned_away(&self, request: &TurnedAway<'_>) {
        self.refusals.iter().for_each(|refusals| refusals.turned_away(request));
    }

    /// The paths with counters.
    pub(super) fn paths(&self) -> &'static Paths {
        self.paths
    }

    /// Adds the counts of clients.
    pub(super) fn watch_clients(&self, gate: &Arc<AccessGate>) {
        self.gate.get_or_init(|| Arc::clone(gate));
    }

    /// Adds the counts of spans.
    pub(super) fn watch_spans(&self, tracer: Tracer) {
        self.tracer.get_or_init(|| tracer);
    }

    /// Counts an answer with this status to bytes that were no request.
    pub(super) fn refused(&self, status: StatusCode) {
        self.requests.with_label_values(&[OTHER, OTHER, status.as_str()]).inc();
    }

    /// Adds the open connections of this limiter; only the first call counts.
    pub(super) fn watch(&self, limiter: &Arc<ConnectionLimiter>) {
        self.limiter.get_or_init(|| Arc::clone(limiter));
    }

    /// Counts a request with the time until its answer began, and its trace if it is recorded.
    pub fn count(
        &self,
        path: &str,
        method: &Method,
        status: StatusCode,
        took: Duration,
        trace: Option<TraceId>,
    ) {
        let route = self.paths.place(path);
        let method = METHODS.iter().position(|known| known == method);
        // The last row is for unknown paths.
        let row = route.unwrap_or(self.routes.len() / (METHODS.len() + 1) - 1);
        let index = row * (METHODS.len() + 1) + method.unwrap_or(METHODS.len());
        let route =
            route.and_then(|route| self.paths.all().nth(route)).map_or(OTHER, |(pattern, ..)| pattern);
        let method = method.map_or(OTHER, |method| METHODS[method].as_str());

        let index = &self.routes[index];
        let durations = || self.durations.with_label_values(&[route, method]);
        let seconds = took.as_secs_f64();
        index.durations.get_or_init(durations).observe(seconds);
        if let Some(trace) = trace {
            let bucket = BUCKETS.iter().position(|most| seconds <= *most).unwrap_or(BUCKETS.len());
            let mut exemplars = index.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
            exemplars.insert(bucket, Exemplar { trace, seconds, at: SystemTime::now() });
        }
        let requests = || self.requests.with_label_values(&[route, method, status.as_str()]);
        match STATUSES.iter().position(|known| *known == status) {
            Some(known) => index.requests[known].get_or_init(requests).inc(),
            None => requests().inc(),
        }
    }

    /// The exemplars of the durations in OpenMetrics' format, by their series in the text format.
    pub(crate) fn exemplars(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let patterns = self.paths.all().map(|(pattern, ..)| *pattern).chain([OTHER]);
        let methods = METHODS.iter().map(Method::as_str).chain([OTHER]);
        let labels = patterns.flat_map(|route| methods.clone().map(move |method| (route, method)));
        for (index, (route, method)) in self.routes.iter().zip(labels) {
            let exemplars = index.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
            for (bucket, Exemplar { trace, seconds, at }) in &*exemplars {
                let most = BUCKETS.get(*bucket).map_or("+Inf".to_owned(), f64::to_string);
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                let series =
                    format!("{DURATIONS}_bucket{{method=\"{method}\",route=\"{route}\",le=\"{most}\"}}");
                all.insert(series, format!("{{trace_id=\"{trace}\"}} {seconds} {at:.3}"));
            }
        }
        all
    }

    /// The metrics so far, and the open connections.
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.requests.collect();
        families.extend(self.durations.collect());
        // The tests of these metrics would find any name that is not well-formed.
        families.extend(self.limiter.get().and_then(|limiter| connected(limiter).ok()).into_iter().flatten());
        families.extend(self.gate.get().into_iter().flat_map(|gate| gate.families()));
        families.extend(self.tracer.get().and_then(|tracer| spans(tracer).ok()).into_iter().flatten());
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

fn spans(tracer: &Tracer) -> prometheus::Result<Vec<MetricFamily>> {
    let (exported, dropped) = tracer.counts();
    let total = |name: &str, help: &str, value| {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        prometheus::Result::Ok(counter.collect())
    };
    let exported = total("highwater_spans_exported_total", "Spans that the collector took.", exported);
    let dropped = total(
        "highwater_spans_dropped_total",
        "Spans that were dropped: the queue was full, or the collector did not take them.",
        dropped,
    );
    Ok([exported?, dropped?].into_iter().flatten().collect())
}

fn connected(limiter: &ConnectionLimiter) -> prometheus::Result<Vec<MetricFamily>> {
    let value = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (all, idle) = (limiter.connections(), limiter.idle());
    let connections = Opts::new("highwater_http_connections", "Open connections, by what they do.");
    let connections = IntGaugeVec::new(connections, &["state"])?;
    connections.with_label_values(&["idle"]).set(value(idle));
    connections.with_label_values(&["busy"]).set(value(all.saturating_sub(idle)));
    let taken = IntGauge::new(
        "highwater_http_memory_bytes",
        "About what connections, their requests and answers take in memory.",
    )?;
    taken.set(value(limiter.budget().taken()));
    let limit = IntGauge::new("highwater_http_memory_limit_bytes", "The most that they may take.")?;
    limit.set(value(limiter.budget().limit()));
    Ok([connections.collect(), taken.collect(), limit.collect()].into_iter().flatten().collect())
}

impl fmt::Debug for Traffic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Traffic").field("paths", &self.paths).finish_non_exhaustive()
    }
}
