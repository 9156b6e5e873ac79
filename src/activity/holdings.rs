//! What this service tells of itself beside what all services do: its store.

use std::sync::Arc;

use chrono::Utc;
use highwater_web::operations::{Figure, Kind, Particular};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Conflicts, Turns};
use crate::store::{EventStore, Stats};

/// What is in the store, and what did not come into it.
pub struct Holdings {
    /// The store.
    pub store: Arc<dyn EventStore>,
    /// What came with the id of another event, and other content.
    pub conflicts: Arc<Conflicts>,
    /// What long reads wait for.
    pub turns: Arc<Turns>,
}

/// What the store holds and has seen.
#[derive(Serialize, JsonSchema)]
pub(super) struct Store {
    #[serde(flatten)]
    stats: Stats,
    /// Of the duplicates those since the start that said something else.
    conflicts: u64,
}

impl Particular for Holdings {
    fn health(&self) -> Map<String, Value> {
        let stats = self.store.stats().map(|stats| Store { stats, conflicts: self.conflicts.count() });
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
                help: "Listings refused because too many long ones waited for their turn.",
                kind: Kind::Counter,
                value: self.turns.refused(),
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
                    help: "Events that left for newer ones.",
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
                help: "How long ago the event happened that leaves next.",
                kind: Kind::Gauge,
                // A producer's clock may be ahead of ours.
                value: u64::try_from((Utc::now().timestamp_millis() - oldest) / 1000).unwrap_or(0),
            });
        }
        figures
    }
}

impl std::fmt::Debug for Holdings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holdings").finish_non_exhaustive()
    }
}
