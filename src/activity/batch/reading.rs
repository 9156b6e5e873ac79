//! Reads lines as events. For a fast stream that is half of the work, and another thread does it meanwhile.

use std::{
    collections::VecDeque,
    future::{pending, ready},
    panic::resume_unwind,
    sync::Arc,
};

use futures::future::{BoxFuture, FutureExt as _};
use highwater_web::http::{Line, Problem};

use super::taking::too_long;
use crate::activity::{Api, schemas::Judged};

/// The most lines of a piece.
const MANY: usize = 256;
/// The number of lines from which a piece is read by a task of its own.
const WORTH_A_TASK: usize = 16;

/// Reads an event of the batch's format.
pub(in crate::activity) type ReadEvent = fn(&Api, &[u8]) -> Result<Judged, Problem>;

/// An event as it was read, with its number and its size.
pub(super) type ReadItem = (u64, usize, Result<Judged, Problem>);

/// The lines that are being read, in order.
#[derive(Default)]
pub(super) struct Reading {
    pieces: VecDeque<BoxFuture<'static, Vec<ReadItem>>>,
    lines: usize,
}

impl Reading {
    /// The number of lines that are being read.
    pub(super) fn len(&self) -> usize {
        self.lines
    }

    /// Begins to read these lines.
    pub(super) fn begin(
        &mut self,
        api: &Arc<Api>,
        read: ReadEvent,
        mut lines: impl Iterator<Item = (u64, Line)>,
    ) {
        loop {
            let piece: Vec<_> = lines.by_ref().take(MANY).collect();
            let (count, api) = (piece.len(), Arc::clone(api));
            self.lines += count;
            let reading = async move {
                let read = |(number, line)| match line {
                    Line::Whole(text) if text.len() <= api.limits.max_bytes => {
                        (number, text.len(), read(&api, &text))
                    }
                    // An item of an array is whole, however long it is.
                    line => (number, line.size(), Err(too_long(api.limits.max_bytes))),
                };
                piece.into_iter().map(read).collect()
            };
            self.pieces.push_back(match count {
                0 => return,
                1..WORTH_A_TASK => reading.boxed(),
                // A panic goes on where the events are taken.
                _ => tokio::spawn(reading)
                    .map(|read| read.unwrap_or_else(|error| resume_unwind(error.into_panic())))
                    .boxed(),
            });
        }
    }

    /// Waits for the events of the first piece, for ever where there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<ReadItem> {
        let Some(first) = self.pieces.front_mut() else { return pending().await };
        let read = first.await;
        self.pieces.pop_front();
        self.lines -= read.len();
        read
    }

    /// Takes back events that come first again.
    pub(super) fn put_back(&mut self, events: Vec<ReadItem>) {
        if !events.is_empty() {
            self.lines += events.len();
            self.pieces.push_front(ready(events).boxed());
        }
    }
}
