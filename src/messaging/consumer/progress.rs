//! How far one partition has come, seen from outside its worker.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Watermark;
use crate::{
    messaging::PartitionStatus,
    sabotage::{self, Sabotage},
};

/// Shared between a partition's worker, which moves it, and the consumer, which commits it.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    partition: i32,
    /// Below this everything is in the projection; `None` while the partition has none.
    projected: Option<i64>,
    /// `None` while it is not known where processing starts.
    watermark: Option<Watermark>,
    committed: Option<i64>,
    end: i64,
    error: Option<String>,
    /// For how long a call of the handler was seen to last; `None` while there is none.
    handling: Option<Duration>,
}

/// A call of the handler that is under way, until dropped.
#[derive(Debug)]
pub(super) struct Handling(Progress);

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.state().handling = None;
    }
}

impl Progress {
    /// A partition of which nothing is known but how far its projection reaches, if it has one.
    pub(super) fn new(partition: i32, projected: Option<i64>) -> Self {
        let state = State {
            partition,
            projected,
            watermark: None,
            committed: None,
            end: 0,
            error: None,
            handling: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A call of the handler begins; it ends when what is returned is dropped.
    pub(super) fn handling(&self) -> Handling {
        self.state().handling = Some(Duration::ZERO);
        Handling(self.clone())
    }

    /// Time goes on. Tells for how long the call of the handler has lasted, if there is one: as far as that was
    /// looked at, for a process that was stopped for an hour has not been stuck for an hour.
    pub(super) fn look(&self, elapsed: Duration) -> Option<Duration> {
        let mut state = self.state();
        let lasted = state.handling.as_mut()?;
        *lasted += elapsed;
        Some(*lasted)
    }

    /// The offset that may be committed, where it differs from the one that is.
    pub(super) fn to_commit(&self) -> Option<i64> {
        let state = self.state();
        let off_by_one = i64::from(sabotage::is(Sabotage::WatermarkOffByOne));
        let mark = state.watermark.as_ref()?.mark() + off_by_one;
        (state.committed != Some(mark)).then_some(mark)
    }

    pub(super) fn committed(&self, offset: i64) {
        self.state().committed = Some(offset);
    }

    /// Below which everything is in the projection, to go on from in another session.
    pub(super) fn projected(&self) -> Option<i64> {
        let state = self.state();
        match (&state.watermark, state.projected) {
            (Some(watermark), Some(projected)) => Some(watermark.mark().max(projected)),
            (Some(watermark), None) => Some(watermark.mark()),
            (None, projected) => projected,
        }
    }

    pub(super) fn set_projected(&self, projected: Option<i64>) {
        self.state().projected = projected;
    }

    /// Processing starts here.
    pub(super) fn start_at(&self, offset: i64) {
        self.state().watermark = Some(Watermark::at(offset));
    }

    pub(super) fn done(&self, offsets: Range<i64>) {
        if let Some(watermark) = &mut self.state().watermark {
            watermark.done(offsets);
        }
    }

    pub(super) fn saw_end(&self, end: i64) {
        self.state().end = end;
    }

    /// Why it stands still, while it does. Tells whether this is news.
    pub(super) fn stands_still(&self, error: Option<String>) -> bool {
        let mut state = self.state();
        let news = state.error.is_some() != error.is_some();
        state.error = error;
        news
    }

    pub(super) fn status(&self) -> PartitionStatus {
        let state = self.state();
        PartitionStatus {
            partition: state.partition,
            restored: state.watermark.is_some(),
            position: state.watermark.as_ref().map(Watermark::mark).or(state.projected).unwrap_or(0),
            committed: state.committed.unwrap_or(-1),
            end: state.end,
            error: state.error.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
