//! The part of `/health` and `/metrics` that only this service has: its store.

use std::sync::Arc;

use chrono::Utc;
use highwater_web::operations::{Figure, Kind, Particular};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ConcurrencyLimit, Conflicts};
use crate::store::{EventStore, Stats};

/// The source of the store's health and metrics.
pub struct StoreStatus {
    /// The store.
    pub store: Arc<dyn EventStore>,
    /// Events with the id of another event and other content.
    pub conflicts: Arc<Conflicts>,
    /// The limit of concurrent long listings.
    pub listing_limit: Arc<ConcurrencyLimit>,
}

/// The store in `/health`.
#[derive(Serialize, JsonSchema)]
pub(super) struct StoreHealth {
    #[serde(flatten)]
    stats: Stats,
    /// Those of the duplicates since the start that had other content.
    conflicts: u64,
}

impl Particular for StoreStatus {
    fn health(&self) -> Map<String, Value> {
        let stats = self.store.stats().map(|stats| StoreHealth { stats, conflicts: self.conflicts.count() });
        let store = stats.and_then(|stats| serde_json::to_value(stats).ok());
        store.into_iter().map(|store| ("store".to_owned(), store)).collect()
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            Figure {
                name: "highwater_consumer_conflicts_total",
                help: "Events with the id of another and other content.",
                kind: Kind::Counter,
                value: self.conflicts.count(),
            },
            Figure {
                name: "highwater_listings_refused_total",
                help: "Listings refused because too many long ones were waiting.",
                kind: Kind::Counter,
                value: self.listing_limit.refused(),
            },
        ];
        if let Some(Stats { events, evicted, duplicates }) = self.store.stats() {
            figures.extend([
                Figure {
                    name: "highwater_store_events",
                    help: "Events in the store.",
                    kind: Kind::Gauge,
                    value: events,
                },
                Figure {
                    name: "highwater_store_evicted_total",
                    help: "Events evicted for newer ones.",
                    kind: Kind::Counter,
                    value: evicted,
                },
                Figure {
                    name: "highwater_consumer_duplicates_total",
                    help: "Events that were stored already.",
                    kind: Kind::Counter,
                    value: duplicates,
                },
            ]);
        }
        if let Some(oldest) = self.store.oldest_millis() {
            figures.push(Figure {
                name: "highwater_store_oldest_event_age_seconds",
                help: "Age of the event that is evicted next.",
                kind: Kind::Gauge,
                // The producer's clock may be ahead.
                value: u64::try_from((Utc::now().timestamp_millis() - oldest) / 1000).unwrap_or(0),
            });
        }
        figures
    }
}

impl std::fmt::Debug for StoreStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreStatus").finish_non_exhaustive()
    }
}
