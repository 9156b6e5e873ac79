//! How far one partition has come, seen from outside its worker.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{CommittedOffset, Watermark};
use crate::{
    PartitionStatus,
    sabotage::{self, Sabotage},
};

/// Shared between a partition's worker, which moves it, and the consumer, which commits it.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

/// How far a projection reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProjectionEnd {
    /// Below this it has everything.
    pub(super) offset: i64,
    /// The id of the topic that it was made of, where that is known.
    pub(super) topic: Option<Uuid>,
}

#[derive(Debug)]
struct State {
    partition: i32,
    /// The id of the topic that all offsets here are of, where that is known.
    topic: Option<Uuid>,
    /// Below this everything is in the projection; `None` while the partition has none.
    projected: Option<i64>,
    /// `None` while it is not known where processing starts.
    watermark: Option<Watermark>,
    committed: Option<i64>,
    end: i64,
    /// The end that it had first.
    goal: Option<i64>,
    /// Since when nobody processes it.
    paused_since: Instant,
    /// How long nobody did, once somebody does.
    paused: Option<Duration>,
    error: Option<String>,
    /// For how long a call of the handler was seen to last; `None` while there is none.
    call_duration: Option<Duration>,
}

/// A call of the handler that is under way, until dropped.
#[derive(Debug)]
pub(super) struct HandlerCall(Progress);

impl Drop for HandlerCall {
    fn drop(&mut self) {
        self.0.state().call_duration = None;
    }
}

impl Progress {
    /// A partition of which nothing is known but how far its projection reaches, if it has one, and since when
    /// it is not processed here.
    pub(super) fn new(partition: i32, projected: Option<ProjectionEnd>, paused_since: Instant) -> Self {
        let state = State {
            partition,
            topic: projected.and_then(|reach| reach.topic),
            projected: projected.map(|reach| reach.offset),
            watermark: None,
            committed: None,
            end: 0,
            goal: None,
            paused_since,
            paused: None,
            error: None,
            call_duration: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A call of the handler begins; it ends when what is returned is dropped.
    pub(super) fn begin_call(&self) -> HandlerCall {
        self.state().call_duration = Some(Duration::ZERO);
        HandlerCall(self.clone())
    }

    /// Time goes on. Tells for how long the call of the handler has lasted, if there is one: as far as that was
    /// looked at, for a process that was stopped for an hour has not been stuck for an hour.
    pub(super) fn call_duration(&self, elapsed: Duration) -> Option<Duration> {
        let mut state = self.state();
        let lasted = state.call_duration.as_mut()?;
        *lasted += elapsed;
        Some(*lasted)
    }

    /// What may be committed, where it differs from what is; not known here is what the projection holds from.
    pub(super) fn to_commit(&self) -> Option<CommittedOffset> {
        let state = self.state();
        let off_by_one = i64::from(sabotage::is(Sabotage::WatermarkOffByOne));
        let offset = state.watermark.as_ref()?.mark() + off_by_one;
        (state.committed != Some(offset)).then_some(CommittedOffset {
            offset,
            held_from: None,
            topic: state.topic,
        })
    }

    /// That is committed.
    pub(super) fn committed(&self, committed: &CommittedOffset) {
        let mut state = self.state();
        // What was of another topic is nothing here.
        if state.topic == committed.topic || state.topic.is_none() || committed.topic.is_none() {
            state.committed = Some(committed.offset);
        }
    }

    /// The id of the topic that its offsets are of.
    pub(super) fn topic(&self) -> Option<Uuid> {
        self.state().topic
    }

    /// They are of that topic, as it turns out.
    pub(super) fn set_topic(&self, topic: Option<Uuid>) {
        self.state().topic = topic;
    }

    /// The topic is another one from now on, whose log ends there: nothing else is known of it.
    pub(super) fn restart(&self, topic: Option<Uuid>, end: i64) {
        let mut state = self.state();
        (state.topic, state.projected, state.watermark, state.committed) = (topic, None, None, None);
        (state.end, state.goal) = (end, Some(end));
    }

    /// As [`Progress::projected`], with the topic that it is of.
    pub(super) fn projection_end(&self) -> Option<ProjectionEnd> {
        self.projected().map(|offset| ProjectionEnd { offset, topic: self.topic() })
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
        let mut state = self.state();
        state.watermark = Some(Watermark::at(offset));
        let paused = state.paused_since.elapsed();
        state.paused.get_or_insert(paused);
    }

    /// It stayed through a rebalance, and was processed all the while if it was before.
    pub(super) fn mark_retained(&self) {
        let mut state = self.state();
        if state.watermark.is_some() {
            state.paused = Some(Duration::ZERO);
        }
    }

    /// There was nothing to read at its position: what the log has beyond it is of a transaction that is still
    /// open, or is gone.
    pub(super) fn found_nothing(&self) {
        let mut state = self.state();
        let mark = state.watermark.as_ref().map(Watermark::mark);
        state.goal = state.goal.zip(mark).map(|(goal, mark)| goal.min(mark)).or(state.goal);
    }

    pub(super) fn done(&self, offsets: Range<i64>) {
        if let Some(watermark) = &mut self.state().watermark {
            watermark.done(offsets);
        }
    }

    pub(super) fn set_end(&self, end: i64) {
        let mut state = self.state();
        state.end = end;
        // A log can become shorter: by an unclean election, or made anew.
        state.goal = Some(state.goal.map_or(end, |goal| goal.min(end)));
    }

    /// Why it stands still, while it does. Tells whether this is news.
    pub(super) fn set_stalled(&self, error: Option<String>) -> bool {
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
            goal: state.goal,
            paused: state.paused,
            error: state.error.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
