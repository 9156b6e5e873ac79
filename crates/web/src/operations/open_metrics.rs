//! OpenMetrics 1.0: the text format with exemplars, which Prometheus' own text format does not have.

use std::{borrow::Cow, collections::BTreeMap};

/// The media type.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text";
/// The media type as a `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Converts Prometheus' text format to OpenMetrics, with these exemplars by their series.
pub(super) fn open_metrics(text: &str, exemplars: &BTreeMap<String, String>) -> String {
    let mut written = String::with_capacity(text.len() + 128 * exemplars.len());
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(described) => written.extend(["# ", &description(described)]),
            None => {
                let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
                written.extend([&*canonical(series), " ", value]);
                if let Some(exemplar) = exemplars.get(series) {
                    written.extend([" # ", exemplar]);
                }
            }
        }
        written.push('\n');
    }
    written.push_str("# EOF\n");
    written
}

/// A description for OpenMetrics: the name of a family of counters lacks the `_total` of its series, and quotes are escaped.
fn description(described: &str) -> String {
    let mut words = described.splitn(3, ' ');
    let (what, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let name = name.strip_suffix("_total").unwrap_or(name);
    [what, " ", name, " ", &words.next().unwrap_or_default().replace('"', "\\\"")].concat()
}

/// The canonical series: the bound of a bucket has a decimal point.
fn canonical(series: &str) -> Cow<'_, str> {
    let bound = series.split_once("le=\"").and_then(|(_, rest)| rest.strip_suffix("\"}"));
    match bound {
        Some(bound) if bound.bytes().all(|byte| byte.is_ascii_digit()) => {
            Cow::Owned(format!("{}.0\"}}", &series[..series.len() - 2]))
        }
        _ => Cow::Borrowed(series),
    }
}
