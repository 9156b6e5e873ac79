//! Counters for `GET /metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use highwater_web::operations::{Metric, MetricKind};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events that were recorded.
    pub(super) recorded: AtomicU64,
    /// Posted events that were recorded before.
    pub(super) repeated: AtomicU64,
    /// Posted events under the id of an event with other content.
    pub(super) conflicting: AtomicU64,
    /// Events with a row and without their details.
    pub(super) details_missing: AtomicU64,
    /// Events that a sweep completed.
    pub(super) completed: AtomicU64,
    /// Items that a sweep could make no row of.
    pub(super) unreadable: AtomicU64,
}

impl Counts {
    /// The counters as metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        let counter = |name, help, value: &AtomicU64| Metric {
            name,
            help,
            kind: MetricKind::Counter,
            value: value.load(Relaxed),
        };
        vec![
            counter("highwater_eventlog_recorded_total", "Events recorded.", &self.recorded),
            counter(
                "highwater_eventlog_repeated_total",
                "Events posted that were recorded before.",
                &self.repeated,
            ),
            counter(
                "highwater_eventlog_conflicting_total",
                "Events posted under the id of one that says otherwise.",
                &self.conflicting,
            ),
            counter(
                "highwater_eventlog_details_missing_total",
                "Events shown without their details, which are not where they were put.",
                &self.details_missing,
            ),
            counter(
                "highwater_eventlog_completed_total",
                "Events that a sweep gave the row they lacked.",
                &self.completed,
            ),
            counter(
                "highwater_eventlog_unreadable_total",
                "Items that a sweep could make no row of.",
                &self.unreadable,
            ),
        ]
    }
}

/// Adds one.
pub(super) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
