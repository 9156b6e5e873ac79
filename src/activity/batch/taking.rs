//! Takes the events of a batch while its answer is read: the receipts come while events still go in.
//!
//! No more than a window of the batch is in memory. While a client does not read its receipts, no further receipts are
//! written and no further events are taken in.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    task::{Context as Task, Poll, Waker},
    time::Duration,
    vec,
};

use bytes::Bytes;
use futures::FutureExt as _;
use highwater_web::http::{Line, Lines, Problem};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};
use warp::http::StatusCode;

use super::{
    intake::{Intake, IntakeOutcome, Taken},
    reading::{ReadEvent, ReadItem, Reading},
    receipts::Receipts,
};
use crate::activity::answers::published::log_published;

/// The most events of a batch that wait for Kafka.
const WINDOW_EVENTS: usize = 4096;
/// And the most bytes of them.
pub(super) const WINDOW_BYTES: usize = 1024 * 1024;
/// The size from which receipts are sent while more can be written. With one more they fit into a piece of an answer (16 KiB).
const CHUNK: usize = 15 * 1024;

/// The events of a batch, as they were sent.
pub(super) enum Items {
    /// Those of an array.
    Array(std::iter::Enumerate<vec::IntoIter<Bytes>>),
    Lines(Lines),
}

impl Items {
    /// The next that is here, and its number.
    fn next_here(&mut self) -> Option<(u64, Line)> {
        match self {
            Self::Array(items) => items.next().map(|(index, item)| (index as u64, Line::Whole(item))),
            Self::Lines(lines) => lines.next_here().map(|line| (lines.number(), line)),
        }
    }

    /// Waits for more; false where there is no more. Cancel safe.
    async fn fill(&mut self) -> Result<bool, Problem> {
        match self {
            Self::Array(_) => Ok(false),
            Self::Lines(lines) => lines.fill().await,
        }
    }

    /// A count that grows with everything that comes whole, which shows that the client is at work.
    fn signs_of_life(&self) -> u64 {
        match self {
            Self::Array(_) => 0,
            Self::Lines(lines) => lines.number(),
        }
    }
}

/// The rest of a batch, which has begun to be answered.
pub(super) struct Taking {
    pub(super) intake: Intake,
    pub(super) read: ReadEvent,
    pub(super) items: Items,
    pub(super) receipts: Receipts,
    /// The longest silence of a client.
    pub(super) patience: Duration,
    pub(super) progress: TakingProgress,
}

/// The progress of a [`Taking`].
pub(super) struct TakingProgress {
    /// The lines that are being read into events.
    reading: Reading,
    /// The events whose receipts are to come, in order, with their numbers and their sizes.
    window: VecDeque<(u64, usize, Taken)>,
    /// The bytes of both.
    window_bytes: usize,
    /// No more events come.
    is_read: bool,
    /// The fault that ended the events before their end.
    fault: Option<Problem>,
    is_closed: bool,
    seen: u64,
    last_seen: Instant,
}

impl TakingProgress {
    pub(super) fn new() -> Self {
        Self {
            reading: Reading::default(),
            window: VecDeque::new(),
            window_bytes: 0,
            is_read: false,
            fault: None,
            is_closed: false,
            seen: 0,
            last_seen: Instant::now(),
        }
    }

    fn is_full(&self) -> bool {
        self.events() >= WINDOW_EVENTS || self.window_bytes >= WINDOW_BYTES
    }

    /// The number of events that it holds.
    fn events(&self) -> usize {
        self.reading.len() + self.window.len()
    }

    fn filled(&mut self, filled: Result<bool, Problem>) {
        match filled {
            Ok(more) => self.is_read = !more,
            Err(fault) => self.end(fault),
        }
    }

    fn end(&mut self, fault: Problem) {
        (self.is_read, self.fault) = (true, Some(fault));
    }
}

impl Taking {
    /// The next receipts; `None` after the last.
    pub(super) async fn chunk(&mut self) -> Option<Bytes> {
        if self.progress.is_closed {
            return None;
        }
        loop {
            self.read_ahead();
            let mut has_room = true;
            while has_room && let Some(events) = self.progress.reading.next().now_or_never() {
                has_room = self.take(events).await;
            }
            let was_full = self.progress.is_full();
            self.write_receipts();
            if self.receipts.len() >= CHUNK || (!has_room && self.receipts.len() > 0) {
                return Some(self.receipts.split());
            }
            let takes_more = !self.progress.is_full();
            if was_full && takes_more {
                continue;
            }
            let seen = self.items.signs_of_life();
            if !takes_more || seen != self.progress.seen {
                (self.progress.seen, self.progress.last_seen) = (seen, Instant::now());
            }
            let wants_more = takes_more && !self.progress.is_read;
            if self.progress.is_read && self.progress.events() == 0 {
                self.progress.is_closed = true;
                self.progress.fault.iter().for_each(|fault| self.intake.note(fault));
                self.receipts.close(self.progress.fault.as_ref());
                return Some(self.receipts.split());
            }
            if self.receipts.len() > 0 {
                // The receipts go out, unless there is more to take in, which the connection gets a turn to read.
                tokio::select! {
                    biased;
                    events = self.progress.reading.next() => self.progress.reading.put_back(events),
                    filled = self.items.fill(), if wants_more => self.progress.filled(filled),
                    () = yield_now() => return Some(self.receipts.split()),
                }
                continue;
            }
            self.wait(wants_more).await;
        }
    }

    /// Waits for more events, or for the first outcome.
    async fn wait(&mut self, wants_more: bool) {
        let until = self.progress.last_seen + self.patience;
        let TakingProgress { reading, window, is_read, .. } = &mut self.progress;
        let first = poll_fn(|task| match window.front_mut() {
            Some((.., taken)) => taken.poll_done(task),
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            () = first => {}
            events = reading.next() => reading.put_back(events),
            filled = self.items.fill(), if wants_more => self.progress.filled(filled),
            () = self.intake.api.shutdown.requested(), if !*is_read => self.progress.end(stopping()),
            () = sleep_until(until), if wants_more => self.progress.end(silent(self.patience)),
        }
    }

    /// Begins to read what is here, as far as the window has room.
    fn read_ahead(&mut self) {
        let Self { intake, read, items, progress, .. } = self;
        let mut events = progress.events();
        let TakingProgress { reading, window_bytes, .. } = progress;
        let lines = std::iter::from_fn(|| {
            let has_room = events < WINDOW_EVENTS && *window_bytes < WINDOW_BYTES;
            let (number, line) = has_room.then(|| items.next_here()).flatten()?;
            (events, *window_bytes) = (events + 1, *window_bytes + line.size());
            Some((number, line))
        });
        reading.begin(&intake.api, *read, lines);
    }

    /// Takes these events, until one has waited for room in the queue to Kafka: the receipts of those before it do not wait
    /// for the others. Returns whether there was room for all.
    async fn take(&mut self, events: Vec<ReadItem>) -> bool {
        let mut events = events.into_iter();
        for (number, bytes, event) in events.by_ref() {
            let mut has_room = true;
            let mut taking = pin!(self.intake.take(event));
            let taken = poll_fn(|task| {
                let polled = taking.as_mut().poll(task);
                has_room &= polled.is_ready();
                polled
            })
            .await;
            self.progress.window.push_back((number, bytes, taken));
            if !has_room {
                self.progress.reading.put_back(events.collect());
                return false;
            }
        }
        true
    }

    /// Writes the receipts that can be written, in order, up to a chunk.
    fn write_receipts(&mut self) {
        let mut task = Task::from_waker(Waker::noop());
        while self.receipts.len() < CHUNK
            && let Some((number, bytes, taken)) = self.progress.window.front_mut()
        {
            if taken.poll_done(&mut task).is_pending() {
                break;
            }
            if let Some(outcome) = taken.outcome() {
                if let IntakeOutcome::Stored { id, receipt, .. } = outcome {
                    let Intake { api, context, .. } = &self.intake;
                    log_published(api, *id, *receipt, context.correlation_id.as_deref());
                }
                self.receipts.add(*number, outcome);
            }
            self.progress.window_bytes -= *bytes;
            self.progress.window.pop_front();
        }
    }
}

impl Drop for Taking {
    /// The client may have gone before the end.
    fn drop(&mut self) {
        let sums = self.receipts.sums();
        let unknown = self.progress.window.len();
        log::info!(
            events = sums.events + unknown as u64, stored = sums.stored, refused = sums.refused,
            notWritten = sums.not_written, possiblyWritten = sums.possibly_written + unknown as u64;
            "a batch ended"
        );
    }
}

pub(super) fn too_long(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the event is larger than {most} bytes"))
}

fn stopping() -> Problem {
    Problem::unavailable("this instance is stopping, send the rest to another", 1)
}

fn silent(patience: Duration) -> Problem {
    let detail = format!("no line came for {patience:?}; a blank one now and then shows that more may come");
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
}
