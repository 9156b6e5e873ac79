//! The end of the store, which one task follows for all readers that stand there.
//!
//! The task reads what is new once, writes it as messages once, and keeps the last of them. A reader takes them from its
//! seat. One that is further behind than what is kept reads the store itself until it is not.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::watch,
    task::yield_now,
    time::{sleep, timeout},
};

use super::message;
use crate::{
    activity::{Api, Coverage},
    store::{Criteria, Direction, EventPage, EventQuery, Positions, Span, StoreError, StoredEvent},
};

/// How many events one read of the store asks for.
pub(super) const PAGE: usize = 128;
/// The bytes of messages that are kept for readers that do not keep up.
const KEPT: usize = 8 * 1024 * 1024;
/// The time between two looks at what is new: events that come closer together share the writes to thousands of sockets.
const GATHER: Duration = Duration::from_millis(50);
/// How often the events of other instances are looked for, in a store that all share.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether there are readers, and whether the partitions are the same.
const CHECK: Duration = Duration::from_secs(1);

/// Events that came together, as messages.
#[derive(Debug)]
pub(super) struct Batch {
    /// All of them.
    text: Bytes,
    /// Each event, and where its message ends.
    pub(super) events: Vec<(Arc<StoredEvent>, usize)>,
    /// The boundary after them.
    pub(super) end: Arc<Positions>,
}

impl Batch {
    /// Of events that come after `start`.
    fn new(mut start: Positions, events: Vec<Arc<StoredEvent>>, end: Positions) -> Self {
        let mut text = BytesMut::new();
        let add = |event: Arc<StoredEvent>| {
            start.0.insert(event.partition, event.position + 1);
            message::push(&mut text, &start, &event);
            (event, text.len())
        };
        let events = events.into_iter().map(add).collect();
        Self { text: text.freeze(), events, end: Arc::new(end) }
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
    state: Mutex<State>,
    /// Changes with each batch, and when it ends.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// The boundary before the first batch that is kept.
    start: Positions,
    /// The number of that batch.
    first: u64,
    batches: VecDeque<Arc<Batch>>,
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
    Batch(Arc<Batch>),
    /// It is not kept any more.
    Overtaken,
    /// There is none, and there will be none.
    Ended,
}

/// Where a reader with a cursor goes on.
pub(super) enum Place {
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
        let state =
            State { start: (*end).clone(), first: 0, batches: VecDeque::new(), bytes: 0, end, ended: false };
        Self { coverage, state: Mutex::new(state), changes: watch::Sender::default() }
    }

    /// The boundary after all that it has read.
    pub(super) fn end(&self) -> Arc<Positions> {
        Arc::clone(&self.state().end)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Where to go on after that boundary. A partition that it does not name is read from its beginning.
    pub(super) fn place(&self, cursor: &Positions) -> Place {
        let state = self.state();
        if state.ended {
            return Place::Ended;
        }
        let changes = self.changes.subscribe();
        if !is_past(cursor, &state.start) {
            return Place::Behind(Arc::clone(&state.end));
        }
        let passed = state.batches.iter().take_while(|batch| is_past(cursor, &batch.end)).count();
        let left: usize = state.batches.iter().skip(passed).map(|batch| batch.text.len()).sum();
        if left > KEPT / 2 {
            // The next ones may leave before they are taken.
            return Place::Behind(Arc::clone(&state.end));
        }
        Place::Seat(Seat { next: state.first + passed as u64, changes })
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
        let is_shared = api.store.is_shared();
        let mut admissions = api.store.admissions();
        loop {
            // The store tells of its faults itself; all readers wait meanwhile, and miss nothing.
            let _ = self.advance(api).await;
            sleep(GATHER).await;
            // Without an admission in time there may be one of another instance.
            let _ = timeout(if is_shared { LOOK } else { CHECK }, admissions.changed()).await;
            let has_moved = !is_shared && api.coverage().restored() != self.coverage.restored();
            if has_moved || is_left() {
                return self.finish();
            }
        }
    }

    /// Reads what is new.
    async fn advance(&self, api: &Api) -> Result<(), StoreError> {
        let end = api.store.end().await?;
        let mut rest = Some(self.new_in(end, api.store.is_shared()));
        while let Some(span) = rest.take().filter(|span| !span.is_empty()) {
            let EventPage { events, rest: after } =
                api.store.read(&EventQuery::default(), span.clone(), PAGE).await?;
            self.publish(
                events,
                after.as_ref().map_or_else(|| ends(&span), |it| it.boundary(Direction::Forward)),
            );
            rest = after;
            yield_now().await;
        }
        Ok(())
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
        let start = (*self.end()).clone();
        let mut end = start.clone();
        end.0.extend(boundary.0);
        if events.is_empty() {
            let mut state = self.state();
            if state.batches.is_empty() {
                state.start = end.clone();
            }
            state.end = Arc::new(end);
            return;
        }
        let batch = Arc::new(Batch::new(start, events, end));
        let mut state = self.state();
        state.end = Arc::clone(&batch.end);
        state.bytes += batch.text.len();
        state.batches.push_back(batch);
        while state.bytes > KEPT
            && state.batches.len() > 1
            && let Some(oldest) = state.batches.pop_front()
        {
            state.bytes -= oldest.text.len();
            state.first += 1;
            state.start = (*oldest.end).clone();
        }
        drop(state);
        self.changes.send_replace(());
    }

    pub(super) fn finish(&self) {
        self.state().ended = true;
        self.changes.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
