//! The part of `/health` and `/metrics` that only this service has: its store, and the streams that follow it.

use std::sync::Arc;

use chrono::Utc;
use highwater_web::operations::{LabelledCounter, Metric, MetricKind, StatusSource};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ConcurrencyLimit, Conflicts, EventStreams, Schemas};
use crate::store::{ErasureCounts, EventStore, Stats};

/// The source of the store's health and metrics.
pub struct StoreStatus {
    /// The store.
    pub store: Arc<dyn EventStore>,
    /// Events with the id of another event and other content.
    pub conflicts: Arc<Conflicts>,
    /// The limit of concurrent listings.
    pub listing_limit: Arc<ConcurrencyLimit>,
    /// The open streams of events.
    pub streams: Arc<EventStreams>,
    /// The schemas of payloads.
    pub schemas: Option<Schemas>,
}

/// The store in `/health`.
#[derive(Serialize, JsonSchema)]
pub(super) struct StoreHealth {
    #[serde(flatten)]
    stats: Stats,
    /// Those of the duplicates since the start that had other content.
    conflicts: u64,
    /// Why it cannot be used now; partitions wait meanwhile, and events are taken in all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl StatusSource for StoreStatus {
    fn health(&self) -> Map<String, Value> {
        let stats = self.store.stats().map(|stats| StoreHealth {
            stats,
            conflicts: self.conflicts.count(),
            error: self.store.error(),
        });
        let store = stats.and_then(|stats| serde_json::to_value(stats).ok());
        store.into_iter().map(|store| ("store".to_owned(), store)).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let fault = self.schemas.as_ref().and_then(Schemas::fault);
        fault
            .map(|fault| {
                format!("the schemas changed, those that were read before stay in use: EVENT_SCHEMAS {fault}")
            })
            .into_iter()
            .collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![
            Metric {
                name: "highwater_consumer_conflicts_total",
                help: "Events with the id of another and other content.",
                kind: MetricKind::Counter,
                value: self.conflicts.count(),
            },
            Metric {
                name: "highwater_listings_refused_total",
                help: "Listings refused because too many long ones were waiting.",
                kind: MetricKind::Counter,
                value: self.listing_limit.refused(),
            },
            Metric {
                name: "highwater_event_streams",
                help: "Open streams of events.",
                kind: MetricKind::Gauge,
                value: self.streams.open() as u64,
            },
            Metric {
                name: "highwater_event_streams_refused_total",
                help: "Streams of events refused because there were MAX_EVENT_STREAMS.",
                kind: MetricKind::Counter,
                value: self.streams.refused(),
            },
            Metric {
                name: "highwater_event_streams_slow_total",
                help: "Streams of events ended because their readers were too slow.",
                kind: MetricKind::Counter,
                value: self.streams.slow(),
            },
        ];
        metrics.push(Metric {
            name: "highwater_store_up",
            help: "Whether the store can be used.",
            kind: MetricKind::Gauge,
            value: u64::from(self.store.error().is_none()),
        });
        if let Some(Stats { events, evicted, duplicates }) = self.store.stats() {
            metrics.extend([
                Metric {
                    name: "highwater_store_events",
                    help: "Events in the store.",
                    kind: MetricKind::Gauge,
                    value: events,
                },
                Metric {
                    name: "highwater_store_evicted_total",
                    help: "Events evicted for newer ones.",
                    kind: MetricKind::Counter,
                    value: evicted,
                },
                Metric {
                    name: "highwater_consumer_duplicates_total",
                    help: "Events that were stored already.",
                    kind: MetricKind::Counter,
                    value: duplicates,
                },
            ]);
        }
        let ErasureCounts { erasures, events } = self.store.erasures();
        metrics.extend([
            Metric {
                name: "highwater_store_erasures_total",
                help: "Erasures of a user's events that were applied, one for each partition.",
                kind: MetricKind::Counter,
                value: erasures,
            },
            Metric {
                name: "highwater_store_erased_total",
                help: "Events that erasures deleted.",
                kind: MetricKind::Counter,
                value: events,
            },
        ]);
        if let Some(expired) = self.store.expired() {
            metrics.push(Metric {
                name: "highwater_store_expired_total",
                help: "Events deleted because they were older than STORE_RETENTION.",
                kind: MetricKind::Counter,
                value: expired,
            });
        }
        if let Some(oldest) = self.store.oldest_millis() {
            metrics.push(Metric {
                name: "highwater_store_oldest_event_age_seconds",
                help: "Age of the event that leaves next: of the first of a partition.",
                kind: MetricKind::Gauge,
                // The producer's clock may be ahead.
                value: u64::try_from((Utc::now().timestamp_millis() - oldest) / 1000).unwrap_or(0),
            });
        }
        metrics
    }

    fn labelled_counters(&self) -> Vec<LabelledCounter> {
        let violations = self.schemas.iter().map(|schemas| LabelledCounter {
            name: "highwater_events_schema_violations_total",
            help: "Events that broke the schema of their type.",
            label: "type",
            counts: schemas.violations(),
        });
        violations.collect()
    }
}

impl std::fmt::Debug for StoreStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreStatus").finish_non_exhaustive()
    }
}
