//! How far the view of each partition is.

use std::sync::Arc;

use highwater_kafka::wire::Fetched;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::{Fold, Replica};

/// A ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerStatus {
    /// The topic that it is folded from.
    pub topic: String,
    /// Whether the view has been as far as the log's end since the start.
    pub complete: bool,
    /// Events that are part of the state.
    pub valid: u64,
    /// Events that count for nothing.
    pub void: u64,
    /// About how many bytes of memory the view takes.
    pub bytes: usize,
    /// The partitions.
    pub partitions: Vec<FollowedPartition>,
}

/// A partition of a ledger's topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowedPartition {
    /// Its number.
    pub partition: i32,
    /// The next offset to be read.
    pub position: i64,
    /// The end of the log as last seen, with what an open transaction holds back.
    pub end: i64,
    /// Why it stands still, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where each partition's follower is.
#[derive(Debug)]
pub(super) struct Places {
    topic: Arc<str>,
    places: Vec<watch::Sender<Place>>,
}

#[derive(Debug, Default)]
struct Place {
    position: i64,
    end: i64,
    /// Whether the log's end has been reached once.
    seen: bool,
    error: Option<String>,
}

impl Places {
    pub(super) fn new(topic: &Arc<str>, partitions: i32) -> Self {
        let places = (0..partitions).map(|_| watch::Sender::new(Place::default())).collect();
        Self { topic: Arc::clone(topic), places }
    }

    /// A fetch has been taken in.
    pub(super) fn moved(&self, partition: i32, fetched: &Fetched) {
        self.change(partition, |place| {
            (place.position, place.end, place.error) = (fetched.next, fetched.end, None);
            // What an open transaction holds back is for nobody to read.
            place.seen |= fetched.next >= fetched.stable;
        });
    }

    /// It does not go on.
    pub(super) fn stands_still(&self, partition: i32, error: &dyn std::fmt::Display) {
        self.change(partition, |place| place.error = Some(error.to_string()));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.places.iter().all(|place| place.borrow().seen)
    }

    /// Waits until each partition has been read to its offset of these.
    pub(super) async fn reached(&self, ends: &[i64]) {
        for (place, end) in self.places.iter().zip(ends) {
            // The sender lives as long as this does.
            let _ = place.subscribe().wait_for(|place| place.position >= *end).await;
        }
    }

    pub(super) fn status<F: Fold>(&self, replica: &Replica<F>) -> LedgerStatus {
        let partitions = self.places.iter().enumerate().map(|(partition, place)| {
            let Place { position, end, error, .. } = &*place.borrow();
            FollowedPartition {
                partition: partition as i32,
                position: *position,
                end: *end,
                error: error.clone(),
            }
        });
        LedgerStatus {
            topic: self.topic.to_string(),
            complete: self.is_complete(),
            valid: replica.applied(),
            void: replica.void(),
            bytes: replica.view().bytes(),
            partitions: partitions.collect(),
        }
    }

    fn change(&self, partition: i32, change: impl FnOnce(&mut Place)) {
        if let Some(place) = usize::try_from(partition).ok().and_then(|index| self.places.get(index)) {
            place.send_modify(change);
        }
    }
}
