//! The end of the store, which one task follows for all readers that stand there.
//!
//! The task reads each new event once, writes it as a message once, and keeps the last messages. A reader takes them from its
//! seat. A reader that is behind the kept messages reads the store itself, until it has caught up.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::message::{self, Gap};
use crate::{
    activity::{Api, Coverage},
    store::{Criteria, Direction, EventPage, EventQuery, Positions, Span, StoreError, StoredEvent},
};

/// The number of events that one read of the store asks for.
pub(super) const PAGE: usize = 128;
/// The bytes of messages that are kept for readers that do not keep up.
const KEPT: usize = 8 * 1024 * 1024;
/// The time for which they are kept. An event that was erased or is too old is sent no longer than that.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// The age from which messages are not sent to a reader any more. It reads the store instead, which knows of the events that
/// were erased meanwhile.
const FRESH: Duration = Duration::from_secs(10);
/// The bytes at which a piece ends, which one reader holds for as long as its client does not read.
pub(super) const PIECE: usize = 32 * 1024;
/// The time between two looks for new events. Events that come closer together share the writes to thousands of sockets.
const GATHER: Duration = Duration::from_millis(50);
/// The interval at which the events of other instances are looked for, in a store that all share.
const LOOK: Duration = Duration::from_millis(100);
/// The interval at which it is checked whether there are readers, and whether the partitions are the same.
const CHECK: Duration = Duration::from_secs(1);

/// Events that came together, as messages.
#[derive(Debug)]
pub(super) struct MessageBatch {
    /// All of them.
    text: Bytes,
    /// Each event, and the end of its message in the text.
    pub(super) events: Vec<(Arc<StoredEvent>, usize)>,
    /// The boundary after them.
    pub(super) end: Arc<Positions>,
    made: Instant,
}

impl MessageBatch {
    /// A batch of the next events, as many as a piece has room for. Moves the boundary past them.
    fn of(events: &mut vec::IntoIter<Arc<StoredEvent>>, boundary: &mut Positions) -> Self {
        let (mut text, mut those) = (BytesMut::new(), Vec::new());
        while text.len() < PIECE
            && let Some(event) = events.next()
        {
            boundary.0.insert(event.partition, event.position + 1);
            message::push(&mut text, boundary, &event);
            those.push((event, text.len()));
        }
        Self { text: text.freeze(), events: those, end: Arc::new(boundary.clone()), made: Instant::now() }
    }

    /// The messages of the events that are asked for.
    pub(super) fn text(&self, wanted: Option<&Criteria>) -> Bytes {
        let Some(wanted) = wanted else { return self.text.clone() };
        let mut text = BytesMut::new();
        let mut start = 0;
        for (event, end) in &self.events {
            if wanted.matches(event) {
                text.extend_from_slice(&self.text[start..*end]);
            }
            start = *end;
        }
        text.freeze()
    }
}

/// The end of the store, from some time on.
#[derive(Debug)]
pub(super) struct Tail {
    /// The partitions that it covers.
    pub(super) coverage: Coverage,
    state: Mutex<TailState>,
    /// Changes with each batch, and when it ends.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct TailState {
    /// The boundary before the first batch that is kept.
    start: Positions,
    /// The number of that batch.
    first: u64,
    batches: VecDeque<Arc<MessageBatch>>,
    bytes: usize,
    end: Arc<Positions>,
    ended: bool,
}

/// A reader's place among the batches.
#[derive(Debug)]
pub(super) struct Seat {
    next: u64,
    changes: watch::Receiver<()>,
}

/// The next batch for a seat.
pub(super) enum Next {
    Batch(Arc<MessageBatch>),
    /// It is not kept any more.
    Overtaken,
    /// There is none, and there will be none.
    Ended,
}

/// The place at which a reader with a cursor goes on.
pub(super) enum ResumePoint {
    /// Among the batches.
    Seat(Seat),
    /// In the store, up to this boundary.
    Behind(Arc<Positions>),
    /// Nowhere.
    Ended,
}

impl Tail {
    /// A tail that begins at the end of the store, in the partitions that an instance covers.
    pub(super) fn new(api: &Api, coverage: Coverage, mut end: Positions) -> Self {
        if !api.store.is_shared() {
            // A partition without an event has no end. One that is not restored has a wrong one.
            let restored = coverage.restored();
            end.0 = restored.iter().map(|it| (*it, end.0.get(it).copied().unwrap_or_default())).collect();
        }
        let end = Arc::new(end);
        let state = TailState {
            start: (*end).clone(),
            first: 0,
            batches: VecDeque::new(),
            bytes: 0,
            end,
            ended: false,
        };
        Self { coverage, state: Mutex::new(state), changes: watch::Sender::default() }
    }

    /// The boundary after all that it has read.
    pub(super) fn end(&self) -> Arc<Positions> {
        Arc::clone(&self.state().end)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The place at which to go on after that boundary. A partition that it does not name is read from its beginning.
    pub(super) fn place(&self, cursor: &Positions) -> ResumePoint {
        let state = self.state();
        if state.ended {
            return ResumePoint::Ended;
        }
        let changes = self.changes.subscribe();
        if !is_past(cursor, &state.start) {
            return ResumePoint::Behind(Arc::clone(&state.end));
        }
        let passed = state.batches.iter().take_while(|batch| is_past(cursor, &batch.end)).count();
        let left: usize = state.batches.iter().skip(passed).map(|batch| batch.text.len()).sum();
        let is_old = state.batches.get(passed).is_some_and(|next| next.made.elapsed() > FRESH);
        // Where many are left, the next ones may leave before they are taken.
        if is_old || left > KEPT / 2 {
            return ResumePoint::Behind(Arc::clone(&state.end));
        }
        ResumePoint::Seat(Seat { next: state.first + passed as u64, changes })
    }

    /// The next batch for that seat, once there is one.
    pub(super) async fn next(&self, seat: &mut Seat) -> Next {
        loop {
            {
                let state = self.state();
                let Some(place) = seat.next.checked_sub(state.first) else { return Next::Overtaken };
                if let Some(batch) = usize::try_from(place).ok().and_then(|place| state.batches.get(place)) {
                    seat.next += 1;
                    return Next::Batch(Arc::clone(batch));
                }
                if state.ended {
                    return Next::Ended;
                }
            }
            // This value owns the sender.
            let _ = seat.changes.changed().await;
        }
    }

    /// Follows the store until the partitions change, or until `is_left` says that no reader is there.
    pub(super) async fn follow(&self, api: &Api, is_left: impl Fn() -> bool) {
        let _end = Ending(self);
        let is_shared = api.store.is_shared();
        let mut admissions = api.store.admissions();
        loop {
            // The store tells of its faults itself; all readers wait meanwhile, and miss nothing.
            if !self.advance(api).await.unwrap_or(true) {
                return;
            }
            self.state().drop_oldest();
            sleep(GATHER).await;
            // Without an admission in time there may be one of another instance.
            let _ = timeout(if is_shared { LOOK } else { CHECK }, admissions.changed()).await;
            let has_moved = !is_shared && api.coverage().restored() != self.coverage.restored();
            if has_moved || is_left() {
                return;
            }
        }
    }

    /// Reads the new events. Returns whether the partitions are the same as before.
    async fn advance(&self, api: &Api) -> Result<bool, StoreError> {
        let end = api.store.end().await?;
        if !api.store.is_shared() && self.is_beyond(&end) {
            return Ok(false);
        }
        let mut rest = Some(self.new_in(end, api.store.is_shared()));
        while let Some(span) = rest.take().filter(|span| !span.is_empty()) {
            let EventPage { events, rest: after, complete_from } =
                api.store.read(&EventQuery::default(), span.clone(), PAGE).await?;
            // Where events have left before they were read, each reader is told when it begins again.
            if self.has_lost(api) || Gap::after(&self.end(), &complete_from).is_some() {
                return Ok(false);
            }
            self.publish(
                events,
                after.as_ref().map_or_else(|| ends(&span), |it| it.boundary(Direction::Forward)),
            );
            rest = after;
            yield_now().await;
        }
        Ok(true)
    }

    /// Whether a partition has left. In memory its events have left with it, so a read after that passes over them.
    pub(super) fn has_lost(&self, api: &Api) -> bool {
        !api.store.is_shared() && self.coverage.lost(&api.coverage()).is_some()
    }

    /// Whether a partition has begun anew, and ends before the position up to which it was read.
    fn is_beyond(&self, end: &Positions) -> bool {
        let read = self.end();
        end.0.iter().any(|(partition, end)| read.0.get(partition).is_some_and(|read| read > end))
    }

    /// The part of the store that is new, where its end is there.
    fn new_in(&self, end: Positions, is_shared: bool) -> Span {
        let state = self.state();
        let begins = |partition: &i32| state.end.0.get(partition).copied();
        let range = |(partition, end): (i32, i64)| {
            let begin = begins(&partition).or(is_shared.then_some(0))?;
            Some((partition, begin..end.max(begin)))
        };
        Span(end.0.into_iter().filter_map(range).collect())
    }

    /// Keeps events for the seats. None but the tail's own task does so.
    fn publish(&self, events: Vec<Arc<StoredEvent>>, boundary: Positions) {
        let mut end = (*self.end()).clone();
        let mut events = events.into_iter();
        let mut batches = Vec::new();
        while events.len() > 0 {
            batches.push(MessageBatch::of(&mut events, &mut end));
        }
        end.0.extend(boundary.0);
        let end = Arc::new(end);
        let Some(last) = batches.last_mut() else {
            let mut state = self.state();
            if state.batches.is_empty() {
                state.start = (*end).clone();
            }
            state.end = end;
            return;
        };
        last.end = Arc::clone(&end);
        let mut state = self.state();
        state.end = end;
        state.bytes += batches.iter().map(|batch| batch.text.len()).sum::<usize>();
        state.batches.extend(batches.into_iter().map(Arc::new));
        state.drop_oldest();
        drop(state);
        self.changes.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, TailState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TailState {
    /// Drops the oldest batches, as far as they are too much or too old.
    fn drop_oldest(&mut self) {
        let goes = |bytes: usize, oldest: &MessageBatch| bytes > KEPT || oldest.made.elapsed() > KEPT_FOR;
        while let Some(oldest) = self.batches.pop_front_if(|oldest| goes(self.bytes, oldest)) {
            self.bytes -= oldest.text.len();
            self.first += 1;
            self.start = (*oldest.end).clone();
        }
    }
}

/// Ends a tail when its task ends, also by a panic: its readers go on elsewhere.
struct Ending<'a>(&'a Tail);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changes.send_replace(());
    }
}

/// Whether all that is before `boundary` is before `cursor`, too.
fn is_past(cursor: &Positions, boundary: &Positions) -> bool {
    boundary
        .0
        .iter()
        .all(|(partition, position)| cursor.0.get(partition).copied().unwrap_or_default() >= *position)
}

/// The boundary at the end of a part of the store.
pub(super) fn ends(span: &Span) -> Positions {
    Positions(span.0.iter().map(|(partition, range)| (*partition, range.end)).collect())
}
