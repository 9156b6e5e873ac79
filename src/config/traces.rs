//! Traces, by the variables of OpenTelemetry.

use std::time::Duration;

use highwater_web::trace::{Share, TraceConfig, TraceSampler};

use super::{
    Service,
    reader::SettingsReader,
    security,
    table::{
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_SCHEDULE_DELAY,
        OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS,
        OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_HEADERS,
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, OTEL_RESOURCE_ATTRIBUTES,
        OTEL_SDK_DISABLED, OTEL_SERVICE_NAME, OTEL_TRACES_EXPORTER, OTEL_TRACES_SAMPLER,
        OTEL_TRACES_SAMPLER_ARG,
    },
};

/// The path of spans below a collector's URL.
const PATH: &str = "/v1/traces";

/// Reads the settings of traces; `None` if no spans are sent. Then the others are not checked, since they may be for other
/// programs.
pub(super) fn read(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    service: &Service,
) -> Option<TraceConfig> {
    if !service.serves() || reader.value(&OTEL_SDK_DISABLED) {
        return None;
    }
    let all = reader.value(&OTEL_EXPORTER_OTLP_ENDPOINT);
    let (given, endpoint) = match reader.value(&OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) {
        Some(own) => (&OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, own),
        None => (&OTEL_EXPORTER_OTLP_ENDPOINT, all?.below(PATH)?),
    };
    if !reader.value(&OTEL_TRACES_EXPORTER) {
        return None;
    }
    let headers = reader.value(&OTEL_EXPORTER_OTLP_HEADERS);
    let headers = reader.value(&OTEL_EXPORTER_OTLP_TRACES_HEADERS).or(headers).unwrap_or_default();
    let timeout = reader.value(&OTEL_EXPORTER_OTLP_TIMEOUT);
    let timeout = reader.value(&OTEL_EXPORTER_OTLP_TRACES_TIMEOUT).unwrap_or(timeout);
    let named = reader.value(&OTEL_SERVICE_NAME);
    let resource = reader.value(&OTEL_RESOURCE_ATTRIBUTES).unwrap_or_default();
    let sampling = reader.value(&OTEL_TRACES_SAMPLER);
    let share = reader.value(&OTEL_TRACES_SAMPLER_ARG).unwrap_or(Share::ALL);
    let delay = reader.value(&OTEL_BSP_SCHEDULE_DELAY);
    let (max_queue, max_batch) =
        (reader.value(&OTEL_BSP_MAX_QUEUE_SIZE), reader.value(&OTEL_BSP_MAX_EXPORT_BATCH_SIZE));
    let sizes = [
        (OTEL_BSP_MAX_EXPORT_BATCH_SIZE.variable, reader.text(&OTEL_BSP_MAX_EXPORT_BATCH_SIZE)),
        (OTEL_BSP_MAX_QUEUE_SIZE.variable, reader.text(&OTEL_BSP_MAX_QUEUE_SIZE)),
    ];
    reader.require(max_batch <= max_queue, &sizes, "the first must be at most the second");
    if reader.value(&OTEL_EXPORTER_OTLP_TRACES_PROTOCOL).is_none() {
        reader.value(&OTEL_EXPORTER_OTLP_PROTOCOL);
    }
    let trust = match reader.text(&OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE).as_str() {
        // The endpoint for all signals may be for others than spans.
        "" if !endpoint.is_https() => None,
        "" => security::trust(reader, &endpoint, given, &OTEL_EXPORTER_OTLP_CERTIFICATE),
        _ => security::trust(reader, &endpoint, given, &OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE),
    };
    // OTEL_SERVICE_NAME overrides the attribute.
    let attribute = resource.iter().find(|(key, _)| key == "service.name").map(|(_, name)| name.clone());
    let name = match service {
        Service::Users => "highwater-users",
        Service::Orders => "highwater-orders",
        Service::EventLog(_) => "highwater-eventlog",
        _ => "highwater",
    };
    Some(TraceConfig {
        endpoint,
        headers,
        timeout: Duration::from_millis(timeout as u64),
        trust,
        sampler: TraceSampler { parent_based: sampling.parent_based, share: sampling.share.unwrap_or(share) },
        service_name: named.or(attribute).unwrap_or_else(|| name.to_owned()),
        resource,
        max_queue,
        max_batch,
        delay: Duration::from_millis(delay),
    })
}
