//! One reader of a stream of events: first from its cursor to the end of the store, then from there on.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use highwater_web::shutdown::Stage;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    StreamSlot,
    message::{self, End, Gap},
    tail::{MessageBatch, Next, PAGE, PIECE, ResumePoint, Seat, Tail, ends},
};
use crate::{
    activity::Api,
    store::{Criteria, Direction, EventQuery, Positions, Span},
};

/// The longest silence of a stream. Proxies close a connection that is silent for a minute (nginx, AWS) or half of one. A
/// client that is gone is found by a message that is sent to it.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// The longest life of a stream. After it the client connects again, maybe to another instance, and its credential is checked
/// again.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// The pause after a failed read of the store.
const PAUSE: Duration = Duration::from_secs(1);

/// A reader.
pub(super) struct Reader {
    api: Arc<Api>,
    tail: Arc<Tail>,
    slot: StreamSlot,
    query: EventQuery,
    /// The query to compare events with, where it asks for less than all.
    wanted: Option<Criteria>,
    /// The boundary after the events that it was sent, or need not be sent.
    cursor: Arc<Positions>,
    /// The boundary that its client knows of at least: by the last sign of life, or by an event where it gets them all.
    told: Arc<Positions>,
    /// Whether the cursor is that of the batches.
    level: bool,
    seat: Option<Seat>,
    /// The number of events that a piece has room for, as far as is known.
    room: usize,
    due: Instant,
    until: Instant,
    ended: bool,
}

impl Reader {
    /// A reader of these events after that boundary, with a credential that expires in so long.
    pub(super) fn new(
        api: Arc<Api>,
        tail: Arc<Tail>,
        slot: StreamSlot,
        query: EventQuery,
        cursor: Arc<Positions>,
        expires_in: Option<Duration>,
    ) -> Self {
        let wanted = (query != EventQuery::default()).then(|| Criteria::from(&query));
        let (told, now) = (Arc::clone(&cursor), Instant::now());
        let (due, until) = (now + HEARTBEAT, now + expires_in.map_or(LIFETIME, |left| left.min(LIFETIME)));
        Self {
            api,
            tail,
            slot,
            query,
            wanted,
            cursor,
            told,
            level: false,
            seat: None,
            room: PAGE,
            due,
            until,
            ended: false,
        }
    }

    /// The next messages; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let shutdown = self.api.shutdown.clone();
        let (due, until) = (self.due, self.until);
        let text = tokio::select! {
            biased;
            () = shutdown.reached(Stage::Closing) => Err(End::Stopping),
            // Before the messages: a reader that is behind always has some.
            () = sleep_until(until) => Err(End::Renewed),
            text = self.messages() => text,
            () = sleep_until(due) => Ok(self.heartbeat()),
        };
        self.due = Instant::now() + HEARTBEAT;
        Some(text.unwrap_or_else(|end| {
            self.ended = true;
            if end == End::Slow {
                self.slot.was_slow();
            }
            end.message().into()
        }))
    }

    fn heartbeat(&mut self) -> Bytes {
        let is_new = self.told != self.cursor;
        self.told = Arc::clone(&self.cursor);
        message::heartbeat(is_new.then_some(&*self.cursor))
    }

    /// The next events. None is lost if the future is dropped before it is ready.
    async fn messages(&mut self) -> Result<Bytes, End> {
        loop {
            let text = match &mut self.seat {
                Some(seat) => match self.tail.next(seat).await {
                    Next::Batch(batch) => self.take(&batch),
                    Next::Overtaken => return Err(End::Slow),
                    Next::Ended => return Err(End::Moved),
                },
                None => match self.tail.place(&self.cursor) {
                    ResumePoint::Seat(seat) => {
                        self.seat = Some(seat);
                        continue;
                    }
                    ResumePoint::Behind(end) => self.read(&end).await?,
                    ResumePoint::Ended => return Err(End::Moved),
                },
            };
            if !text.is_empty() {
                if self.wanted.is_none() {
                    self.told = Arc::clone(&self.cursor);
                }
                return Ok(text);
            }
        }
    }

    /// The messages of a batch that the reader asked for and does not have.
    fn take(&mut self, batch: &MessageBatch) -> Bytes {
        if self.level {
            self.cursor = Arc::clone(&batch.end);
            return batch.text(self.wanted.as_ref());
        }
        // It was elsewhere: it may have some of these events, or know of partitions that this instance has not.
        let mut text = BytesMut::new();
        let cursor = Arc::make_mut(&mut self.cursor);
        for (event, _) in &batch.events {
            let position = cursor.0.entry(event.partition).or_default();
            if event.position < *position {
                continue;
            }
            *position = event.position + 1;
            if self.wanted.as_ref().is_none_or(|wanted| wanted.matches(event)) {
                message::push(&mut text, cursor, event);
            }
        }
        go_on(cursor, &batch.end);
        self.level = *self.cursor == *batch.end;
        text.freeze()
    }

    /// The next piece of the store, up to that boundary. The rest of a page for which a piece has no room is read again: it
    /// would wait here for as long as the client does not read.
    async fn read(&mut self, end: &Positions) -> Result<Bytes, End> {
        let range = |(partition, end): (&i32, &i64)| {
            let begin = self.cursor.0.get(partition).copied().unwrap_or_default();
            (*partition, begin..(*end).max(begin))
        };
        let span = Span(end.0.iter().map(range).collect());
        let permit = self.slot.permit().await;
        let page = match self.api.store.read(&self.query, span.clone(), self.room).await {
            Ok(page) => page,
            Err(error) => {
                drop(permit);
                log::debug!("a stream of events waits: {error}");
                sleep(PAUSE).await;
                return Ok(Bytes::new());
            }
        };
        if self.tail.has_lost(&self.api) {
            return Err(End::Moved);
        }
        let mut text = BytesMut::new();
        let cursor = Arc::make_mut(&mut self.cursor);
        if let Some(gap) = Gap::after(cursor, &page.complete_from) {
            go_on(cursor, &ends(&gap.0));
            text.put_slice(gap.message(cursor).as_bytes());
        }
        let mut events = page.events.iter();
        while text.len() < PIECE
            && let Some(event) = events.next()
        {
            cursor.0.insert(event.partition, event.position + 1);
            message::push(&mut text, cursor, event);
        }
        if events.len() > 0 {
            self.room = page.events.len() - events.len();
            return Ok(text.freeze());
        }
        self.room = (2 * self.room).min(PAGE);
        go_on(cursor, &page.rest.map_or_else(|| ends(&span), |rest| rest.boundary(Direction::Forward)));
        Ok(text.freeze())
    }
}

/// Moves a boundary on to another, where that is further on.
fn go_on(cursor: &mut Positions, boundary: &Positions) {
    for (partition, position) in &boundary.0 {
        let here = cursor.0.entry(*partition).or_insert(*position);
        *here = (*here).max(*position);
    }
}
