//! Batches that may be stored although their copies are not compared yet: the answer was lost, or the database failed right
//! after the commit. They are compared when their partition is claimed anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{claim::Claim, failure::Failure, pool::Pool, row};
use crate::store::{ActivityEvent, StoredEvent};

/// The offset of an event that is not stored, and the stored event with its id.
type Conflict = (i64, Arc<StoredEvent>);

/// Batches and conflicts by partition.
#[derive(Debug, Default)]
pub(super) struct Unjudged(Mutex<UnjudgedState>);

#[derive(Debug, Default)]
struct UnjudgedState {
    batches: HashMap<i32, UnjudgedBatch>,
    conflicts: HashMap<i32, Vec<Conflict>>,
}

/// A batch that moves its partition's position to `next`.
#[derive(Debug)]
pub(super) struct UnjudgedBatch {
    pub(super) base: i64,
    pub(super) next: i64,
    /// Its events, each with its position.
    pub(super) events: Vec<(i64, ActivityEvent)>,
}

impl Unjudged {
    /// Keeps a batch until its partition is claimed anew.
    pub(super) fn keep(&self, partition: i32, batch: UnjudgedBatch) {
        self.state().batches.insert(partition, batch);
    }

    /// Finds the conflicts of the partition's batch, if the new claim says that the batch is stored.
    pub(super) async fn judge(&self, pool: &Pool, partition: i32, claim: &Claim) -> Result<(), Failure> {
        let batch = self.state().batches.remove(&partition);
        // Events that are not stored come again.
        let is_stored = |batch: &UnjudgedBatch| batch.base == claim.base && claim.next >= Some(batch.next);
        let Some(batch) = batch.filter(is_stored) else { return Ok(()) };
        let ids: Vec<Uuid> = batch.events.iter().map(|(_, event)| event.id()).collect();
        let firsts = match firsts(pool, &ids).await {
            Ok(firsts) => firsts,
            Err(failure) => {
                self.keep(partition, batch);
                return Err(failure);
            }
        };
        let conflicts = batch.events.iter().filter_map(|(position, event)| {
            let first = firsts.get(&event.id())?;
            let is_copy = (first.partition, first.position) != (partition, *position);
            (is_copy && !first.has_same_content_as(event)).then(|| (position - batch.base, Arc::clone(first)))
        });
        self.state().conflicts.entry(partition).or_default().extend(conflicts);
        Ok(())
    }

    /// The conflicts that were found since the last call.
    pub(super) fn take_conflicts(&self, partition: i32) -> Vec<Conflict> {
        self.state().conflicts.remove(&partition).unwrap_or_default()
    }

    /// Forgets the partition: another process may have it.
    pub(super) fn forget(&self, partition: i32) {
        let mut state = self.state();
        state.batches.remove(&partition);
        state.conflicts.remove(&partition);
    }

    fn state(&self) -> MutexGuard<'_, UnjudgedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that are stored under these ids.
pub(super) async fn firsts(pool: &Pool, ids: &[Uuid]) -> Result<HashMap<Uuid, Arc<StoredEvent>>, Failure> {
    const FIRST_OF: &str = "SELECT partition, position, stored_at, event FROM events WHERE id = ANY($1)";

    let rows = pool.query(FIRST_OF, &[&ids]).await?;
    rows.iter().map(|row| row::stored(row).map(|first| (first.id(), first))).collect()
}
