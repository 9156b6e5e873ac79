//! The progress of one partition.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{CommittedOffset, Watermark};
use crate::{FetchPosition, LeaderEpochs, PartitionStatus};

/// Shared between a partition's worker, which advances it, and the consumer, which commits it.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

/// The end of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProjectionEnd {
    /// The projection has everything below this position.
    pub(super) position: FetchPosition,
    /// The id of its topic, if known.
    pub(super) topic: Option<Uuid>,
}

impl ProjectionEnd {
    /// The end of a projection that is to be forgotten before it is restored.
    pub(super) const INVALID: Self =
        Self { position: FetchPosition { offset: -1, leader_epoch: None }, topic: None };
}

#[derive(Debug)]
struct State {
    partition: i32,
    /// The id of the topic that all offsets here belong to, if known.
    topic: Option<Uuid>,
    /// The projection has everything below this position; `None` without a projection.
    projected: Option<FetchPosition>,
    /// `None` until the start is known.
    watermark: Option<Watermark>,
    committed: Option<i64>,
    /// The leader epochs of the records that were read, from before the watermark on.
    epochs: LeaderEpochs,
    end: i64,
    /// The end that the log had at the assignment.
    goal: Option<i64>,
    /// The time since which the partition is not processed here.
    paused_since: Instant,
    /// The duration of the pause; `None` until processing starts.
    paused: Option<Duration>,
    error: Option<String>,
    /// The duration of the handler's current call, as far as it was measured; `None` without a call.
    call_duration: Option<Duration>,
}

/// A call of the handler, until dropped.
#[derive(Debug)]
pub(super) struct HandlerCall(Progress);

impl Drop for HandlerCall {
    fn drop(&mut self) {
        self.0.state().call_duration = None;
    }
}

impl Progress {
    /// A new assignment, with the end of its projection, if there is one, and the time since which it is paused.
    pub(super) fn new(partition: i32, projected: Option<ProjectionEnd>, paused_since: Instant) -> Self {
        let state = State {
            partition,
            topic: projected.and_then(|reach| reach.topic),
            projected: projected.map(|reach| reach.position),
            watermark: None,
            committed: None,
            epochs: LeaderEpochs::default(),
            end: 0,
            goal: None,
            paused_since,
            paused: None,
            error: None,
            call_duration: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Begins a call of the handler, which ends when the guard is dropped.
    pub(super) fn begin_call(&self) -> HandlerCall {
        self.state().call_duration = Some(Duration::ZERO);
        HandlerCall(self.clone())
    }

    /// Adds `elapsed` to the duration of the handler's current call, and returns it. Only measured time counts: a
    /// process that was stopped for an hour has not been stuck for an hour.
    pub(super) fn call_duration(&self, elapsed: Duration) -> Option<Duration> {
        let mut state = self.state();
        let lasted = state.call_duration.as_mut()?;
        *lasted += elapsed;
        Some(*lasted)
    }

    /// The offset to commit, if it differs from the committed one, without `held_from`.
    pub(super) fn to_commit(&self) -> Option<CommittedOffset> {
        let committed = self.state().committed;
        self.processed().filter(|processed| committed != Some(processed.offset))
    }

    /// The position below which everything is processed, without `held_from`; `None` until the start is known.
    pub(super) fn processed(&self) -> Option<CommittedOffset> {
        let mut state = self.state();
        let offset = state.watermark.as_ref()?.mark();
        state.epochs.drop_before(offset);
        let FetchPosition { leader_epoch, .. } = state.epochs.position_at(offset);
        Some(CommittedOffset { offset, leader_epoch, held_from: None, topic: state.topic })
    }

    /// Notes a commit.
    pub(super) fn committed(&self, committed: &CommittedOffset) {
        let mut state = self.state();
        // A commit of another topic does not count.
        if state.topic == committed.topic || state.topic.is_none() || committed.topic.is_none() {
            state.committed = Some(committed.offset);
        }
    }

    /// The id of its topic.
    pub(super) fn topic(&self) -> Option<Uuid> {
        self.state().topic
    }

    /// Sets the id of its topic.
    pub(super) fn set_topic(&self, topic: Option<Uuid>) {
        self.state().topic = topic;
    }

    /// Begins anew with another topic, whose log ends at `end`.
    pub(super) fn restart(&self, topic: Option<Uuid>, end: i64) {
        let mut state = self.state();
        (state.topic, state.projected, state.watermark, state.committed) = (topic, None, None, None);
        state.epochs = LeaderEpochs::default();
        (state.end, state.goal) = (end, Some(end));
    }

    /// As [`Progress::projected`], with the topic.
    pub(super) fn projection_end(&self) -> Option<ProjectionEnd> {
        self.projected().map(|position| ProjectionEnd { position, topic: self.topic() })
    }

    /// The projection has everything below this position.
    pub(super) fn projected(&self) -> Option<FetchPosition> {
        let state = self.state();
        let processed = state.watermark.as_ref().map(|watermark| state.epochs.position_at(watermark.mark()));
        let ends = state.projected.into_iter().chain(processed);
        ends.max_by_key(|position| position.offset)
    }

    pub(super) fn set_projected(&self, projected: Option<FetchPosition>) {
        self.state().projected = projected;
    }

    /// Notes the leader epochs of the next records.
    pub(super) fn read(&self, epochs: &LeaderEpochs) {
        self.state().epochs.extend(epochs);
    }

    /// The end of what was read and the leader's log has, which has that end of an epoch up to the last one that was read.
    pub(super) fn common_end(&self, leaders: FetchPosition) -> FetchPosition {
        self.state().epochs.common_end(leaders)
    }

    /// The position at an offset that was read.
    pub(super) fn position_at(&self, offset: i64) -> FetchPosition {
        self.state().epochs.position_at(offset)
    }

    /// Processing starts at `position`.
    pub(super) fn start_at(&self, position: FetchPosition) {
        let mut state = self.state();
        state.watermark = Some(Watermark::new(position.offset));
        state.epochs = LeaderEpochs::before(position);
        // Beyond it the projection may be of another history of the log.
        state.projected = state.projected.filter(|projected| projected.offset <= position.offset);
        let paused = state.paused_since.elapsed();
        state.paused.get_or_insert(paused);
    }

    /// Marks the partition as retained through a rebalance: it was not paused if it was processed before.
    pub(super) fn mark_retained(&self) {
        let mut state = self.state();
        if state.watermark.is_some() {
            state.paused = Some(Duration::ZERO);
        }
    }

    /// A read at the position found nothing: the log beyond it is of an open transaction, or is gone.
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
        // A log can become shorter: by an unclean election, or recreated.
        state.goal = Some(state.goal.map_or(end, |goal| goal.min(end)));
    }

    /// Sets or clears the reason why the partition is stalled. Returns whether it was stalled before and is not, or the
    /// reverse.
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
            position: state
                .watermark
                .as_ref()
                .map(Watermark::mark)
                .or(state.projected.map(|projected| projected.offset))
                .unwrap_or(0)
                .max(0),
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
