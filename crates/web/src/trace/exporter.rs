//! Sends spans to a collector: OTLP over HTTP, in JSON.

use std::{
    fmt::Display,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use highwater_kafka::Backoff;
use highwater_net::client::{self, Method, StatusCode, header};
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    TraceConfig, Tracer,
    otlp::{self, KeyValue, Resource},
    tracer::Shared,
};

/// The most attempts for a batch; then it is dropped.
const ATTEMPTS: usize = 8;
/// The longest wait between two attempts, whatever the collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The most characters of a collector's reason in the log.
const LONGEST_REASON: usize = 200;

/// Spans on their way to a collector.
#[derive(Debug)]
pub struct Exporting {
    tracer: Tracer,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Starts a task that sends spans by these settings.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn start(config: TraceConfig) -> Self {
        let tracer = Tracer::new(&config);
        let (stop, stopping) = watch::channel(false);
        let resource = resource(&config);
        let shared = Arc::clone(tracer.shared());
        let exporter = Exporter { config, resource, shared, stopping, is_failing: false };
        Self { tracer, stop, task: tokio::spawn(exporter.run()) }
    }

    /// The tracer that makes the spans.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends the remaining spans; waits at most this long.
    pub async fn finish(self, within: Duration) {
        self.stop.send_replace(true);
        if !matches!(timeout(within, self.task).await, Ok(Ok(()))) {
            log::warn!("spans are lost: they could not be sent within {within:?} at the end");
        }
    }
}

fn resource(config: &TraceConfig) -> Resource {
    let own = [
        ("service.name", config.service_name.as_str()),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", &Uuid::new_v4().to_string()),
        ("telemetry.sdk.name", "highwater"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    // OTEL_SERVICE_NAME overrides OTEL_RESOURCE_ATTRIBUTES, and both override the values of this program.
    let is_given = |name: &str| name != "service.name" && config.resource.iter().any(|(key, _)| key == name);
    let own = own.into_iter().filter(|(key, _)| !is_given(key));
    let given = config.resource.iter().filter(|(key, _)| key != "service.name");
    own.chain(given.map(|(key, value)| (key.as_str(), value.as_str())))
        .map(|(key, value)| KeyValue { key: key.to_owned(), value: value.into() })
        .collect()
}

struct Exporter {
    config: TraceConfig,
    resource: Resource,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    /// The last batch was dropped, and the log has said so.
    is_failing: bool,
}

/// The reason why a batch was refused.
struct Refusal {
    reason: String,
    /// Whether the batch may be sent again (OTLP 1.x, "Retryable Response Codes").
    is_retryable: bool,
    /// The shortest wait that the collector asks for.
    retry_after: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExportResponse {
    #[serde(alias = "partial_success")]
    partial_success: PartialSuccess,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    /// A number, usually in quotes.
    #[serde(alias = "rejected_spans")]
    rejected_spans: serde_json::Value,
    #[serde(alias = "error_message")]
    error_message: Option<String>,
}

impl Exporter {
    async fn run(mut self) {
        loop {
            let is_last = tokio::select! {
                () = stopped(&mut self.stopping) => true,
                () = self.shared.full.notified() => false,
                () = sleep(self.config.delay) => false,
            };
            loop {
                let batch = self.shared.take();
                if batch.is_empty() {
                    break;
                }
                self.export(batch).await;
                if !is_last && !self.shared.has_batch() {
                    break;
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Sends a batch until it is taken, or dropped.
    async fn export(&mut self, batch: Vec<Box<RawValue>>) {
        let mut backoff = Backoff::new();
        for attempt in 1.. {
            match self.send(&batch).await {
                Ok((rejected, reason)) => {
                    let rejected = rejected.min(batch.len());
                    self.shared.exported.fetch_add((batch.len() - rejected) as u64, Ordering::Relaxed);
                    if rejected > 0 {
                        self.drop_spans(rejected, &reason);
                    } else if std::mem::take(&mut self.is_failing) {
                        log::info!("the collector takes spans again");
                    }
                    return;
                }
                Err(refusal) if !refusal.is_retryable || attempt == ATTEMPTS || *self.stopping.borrow() => {
                    self.drop_spans(batch.len(), &refusal.reason);
                    return;
                }
                Err(refusal) => {
                    let wait = refusal.retry_after.unwrap_or_default().min(LONGEST_WAIT);
                    tokio::select! {
                        () = sleep(wait + backoff.next_wait()) => {}
                        () = stopped(&mut self.stopping) => {}
                    }
                }
            }
        }
    }

    fn drop_spans(&mut self, spans: usize, reason: &dyn Display) {
        self.shared.dropped.fetch_add(spans as u64, Ordering::Relaxed);
        if !std::mem::replace(&mut self.is_failing, true) {
            let endpoint = &self.config.endpoint;
            log::warn!(endpoint:%; "spans are dropped, as metrics count: the collector does not take them: {reason}");
        }
    }

    /// Sends a batch once. Returns the number of rejected spans, and the reason.
    async fn send(&mut self, batch: &[Box<RawValue>]) -> Result<(usize, String), Refusal> {
        let refused = |reason: String, is_retryable| Refusal { reason, is_retryable, retry_after: None };
        let body = otlp::request(&self.resource, batch).map_err(|error| refused(error.to_string(), false))?;
        let TraceConfig { endpoint, timeout, trust, headers, .. } = &self.config;
        let mut headers = headers.clone();
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        let sent =
            client::send(Method::POST, endpoint, &headers, Bytes::from(body), trust.as_ref(), *timeout).await;
        let answer = sent.map_err(|error| refused(error.to_string(), true))?;
        match answer.status {
            status if status.is_success() => {
                let ExportResponse { partial_success: PartialSuccess { rejected_spans, error_message } } =
                    serde_json::from_slice(&answer.body).unwrap_or_default();
                let rejected = rejected_spans.as_u64().or_else(|| rejected_spans.as_str()?.parse().ok());
                let reason: String = error_message.unwrap_or_default().chars().take(LONGEST_REASON).collect();
                Ok((rejected.unwrap_or(0) as usize, reason))
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let retry_after = client::retry_after(&answer.headers);
                Err(Refusal { retry_after, ..refused(answer.status.to_string(), true) })
            }
            status => Err(refused(status.to_string(), false)),
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // On an error nobody can stop the exporter any more, so it ends, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
