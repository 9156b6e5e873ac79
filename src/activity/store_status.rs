//! What this service tells of itself beside what all services do: its store.

use std::sync::Arc;

use chrono::Utc;
use highwater_web::operations::{Metric, MetricKind, StatusSource};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Conflicts, Turns};
use crate::store::{EventStore, Stats};

/// What is in the store, and what did not come into it.
pub struct StoreStatus {
    /// The store.
    pub store: Arc<dyn EventStore>,
    /// What came with the id of another event, and other content.
    pub conflicts: Arc<Conflicts>,
    /// What long reads wait for.
    pub turns: Arc<Turns>,
}

/// What the store holds and has seen.
#[derive(Serialize, JsonSchema)]
pub(super) struct StoreHealth {
    #[serde(flatten)]
    stats: Stats,
    /// Of the duplicates those since the start that said something else.
    conflicts: u64,
}

impl StatusSource for StoreStatus {
    fn health(&self) -> Map<String, Value> {
        let stats = self.store.stats().map(|stats| StoreHealth { stats, conflicts: self.conflicts.count() });
        let store = stats.and_then(|stats| serde_json::to_value(stats).ok());
        store.into_iter().map(|store| ("store".to_owned(), store)).collect()
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
                help: "Listings refused because too many long ones waited for their turn.",
                kind: MetricKind::Counter,
                value: self.turns.refused(),
            },
        ];
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
                    help: "Events that left for newer ones.",
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
        if let Some(oldest) = self.store.oldest_millis() {
            metrics.push(Metric {
                name: "highwater_store_oldest_event_age_seconds",
                help: "How long ago the event happened that leaves next.",
                kind: MetricKind::Gauge,
                // A producer's clock may be ahead of ours.
                value: u64::try_from((Utc::now().timestamp_millis() - oldest) / 1000).unwrap_or(0),
            });
        }
        metrics
    }
}

impl std::fmt::Debug for StoreStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreStatus").finish_non_exhaustive()
    }
}
