//! The availability of the database, for `/health`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use log::{info, warn};

use super::failure::Failure;
use crate::store::StoreError;

/// The operations that fail now.
#[derive(Debug, Default)]
pub(super) struct Availability(Mutex<AvailabilityState>);

#[derive(Debug, Default)]
struct AvailabilityState {
    /// The reason why the last attempt failed, other than that of storing a batch.
    error: Option<String>,
    /// The partitions whose last batch is not stored, as far as is known.
    unwritten: BTreeMap<i32, Unwritten>,
}

/// A batch that is not stored.
#[derive(Debug)]
struct Unwritten {
    /// The position at which it was to be stored.
    position: Option<i64>,
    reason: String,
}

impl Availability {
    /// The reason why the database cannot be used now.
    pub(super) fn error(&self) -> Option<String> {
        let state = self.state();
        let unwritten = || Some(state.unwritten.values().next()?.reason.clone());
        state.error.clone().or_else(unwritten)
    }

    /// Notes the outcome of anything but storing a batch.
    pub(super) fn noted<T>(&self, outcome: Result<T, Failure>) -> Result<T, StoreError> {
        match outcome {
            Ok(value) => {
                if self.state().error.take().is_some() {
                    info!("the store is available again");
                }
                Ok(value)
            }
            // Another process has the partition, which is no fault of the database.
            Err(fenced @ Failure::Fenced(_)) => Err(fenced.into()),
            Err(failure) => {
                self.failed(&failure);
                Err(failure.into())
            }
        }
    }

    pub(super) fn failed(&self, failure: &Failure) {
        if self.state().error.replace(failure.to_string()).is_none() {
            warn!("the store is unavailable: {failure}");
        }
    }

    /// Notes whether a partition's batch for that position is stored. If it is not, no other success makes up for it, such
    /// as queries while the disk is full.
    pub(super) fn noted_write<T>(
        &self,
        partition: i32,
        position: Option<i64>,
        outcome: Result<T, Failure>,
    ) -> Result<T, StoreError> {
        match outcome {
            Ok(value) => {
                self.is_written(partition);
                Ok(value)
            }
            Err(fenced @ Failure::Fenced(_)) => Err(fenced.into()),
            Err(failure) => {
                let unwritten = &mut self.state().unwritten;
                if unwritten.is_empty() {
                    warn!("events cannot be stored: {failure}");
                }
                unwritten.insert(partition, Unwritten { position, reason: failure.to_string() });
                Err(failure.into())
            }
        }
    }

    /// Notes the position at which a partition was taken up. If it differs from that of the partition's last batch, the
    /// batch is stored and its answer alone was lost.
    pub(super) fn taken_up(&self, partition: i32, position: Option<i64>) {
        let is_past =
            self.state().unwritten.get(&partition).is_some_and(|unwritten| unwritten.position != position);
        if is_past {
            self.is_written(partition);
        }
    }

    /// No batch of that partition waits to be stored.
    pub(super) fn is_written(&self, partition: i32) {
        let unwritten = &mut self.state().unwritten;
        if unwritten.remove(&partition).is_some() && unwritten.is_empty() {
            info!("events can be stored again");
        }
    }

    fn state(&self) -> MutexGuard<'_, AvailabilityState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
