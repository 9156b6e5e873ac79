//! The lines that are read and that no receipt has settled. They are kept, so that they can be sent again after a break.

use std::{collections::VecDeque, io};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use super::input::{Part, Position};

/// The most bytes that are kept; then no more is read. It is several times as much as a service takes in before it writes
/// receipts.
const MOST: usize = 4 << 20;

/// Lines in their order, of which the first ones are sent.
#[derive(Debug)]
pub(super) struct Window {
    source: mpsc::Receiver<io::Result<Part>>,
    /// The end of the source, once it has come: an error if the source could not be read to its end.
    end: Option<io::Result<()>>,
    parts: VecDeque<Part>,
    /// The number of parts that are sent.
    sent: usize,
    bytes: usize,
}

impl Window {
    /// The lines that this source has.
    pub(super) fn of(source: mpsc::Receiver<io::Result<Part>>) -> Self {
        Self { source, end: None, parts: VecDeque::new(), sent: 0, bytes: 0 }
    }

    /// Whether more can be read.
    pub(super) fn takes_more(&self) -> bool {
        self.end.is_none() && self.bytes < MOST
    }

    /// Waits for more lines, or for the end. Cancel safe.
    pub(super) async fn fill(&mut self) {
        match self.source.recv().await {
            Some(Ok(part)) => {
                self.bytes += part.text.len();
                self.parts.push_back(part);
            }
            Some(Err(error)) => self.end = Some(Err(error)),
            None => self.end = Some(Ok(())),
        }
    }

    /// Whether all lines that are read are settled.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether all lines are read.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes the end of the source.
    ///
    /// # Errors
    ///
    /// It could not be read to its end.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.end.take().unwrap_or(Ok(()))
    }

    /// Whether some lines are not sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.parts.len()
    }

    /// The next lines to send, which are sent from now on.
    pub(super) fn send(&mut self) -> Option<Bytes> {
        let text = self.parts.get(self.sent)?.text.clone();
        self.sent += 1;
        Some(text)
    }

    /// All lines are to be sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The line whose receipt comes next; `None` where none is sent.
    pub(super) fn awaited(&self) -> Option<Position> {
        self.parts.front().filter(|_| self.sent > 0)?.positions.front().copied()
    }

    /// The awaited line is settled.
    pub(super) fn settle(&mut self) {
        let Some(first) = self.parts.front_mut() else { return };
        if let Some(Position { bytes, .. }) = first.positions.pop_front() {
            first.text.advance(bytes);
            self.bytes -= bytes;
        }
        if first.positions.is_empty() {
            self.parts.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }
}
