//! The lines of a body, as they come.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::task::coop::consume_budget;

use super::{Problem, body::BodyStream};

/// The lines of a body. Memory holds at most one piece and one line.
pub struct Lines {
    body: BodyStream,
    /// The beginning of an incomplete line.
    begun: BytesMut,
    /// The bytes after that.
    piece: Bytes,
    number: u64,
    /// The current line is too long, and skipped to its end.
    is_too_long: bool,
    /// The bytes since the last line with content.
    wasted: usize,
    max_line: usize,
    max_wasted: usize,
    ended: bool,
}

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The whole line, without its end.
    Whole(Bytes),
    /// The line is longer than the limit.
    TooLong,
}

impl Line {
    /// The number of its bytes in memory.
    pub fn size(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::TooLong => 0,
        }
    }
}

impl Lines {
    /// The lines of that body, of at most `max_line` bytes each. Blank lines and longer lines are skipped, at most
    /// `max_wasted` bytes in a row.
    pub fn new(body: BodyStream, max_line: usize, max_wasted: usize) -> Self {
        Self {
            body,
            begun: BytesMut::new(),
            piece: Bytes::new(),
            number: 0,
            is_too_long: false,
            wasted: 0,
            max_line,
            max_wasted,
            ended: false,
        }
    }

    /// The number of complete lines so far, blank ones included.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line that has already come; [`Lines::number`] is its number.
    pub fn next_here(&mut self) -> Option<Line> {
        while !self.piece.is_empty() {
            let Some(end) = memchr::memchr(b'\n', &self.piece) else {
                let rest = std::mem::take(&mut self.piece);
                self.begin(&rest);
                return None;
            };
            let rest = self.piece.split_to(end);
            self.piece.advance(1);
            // A line is usually within a piece, and is not copied.
            let line = match self.begun.is_empty() && !self.is_too_long && rest.len() <= self.max_line {
                true => Some(Line::Whole(rest)).filter(says_something),
                false => {
                    self.begin(&rest);
                    self.finish()
                }
            };
            self.number += 1;
            match line {
                Some(line) => {
                    self.wasted = 0;
                    return Some(line);
                }
                None => self.wasted += end + 1,
            }
        }
        if !self.ended || (self.begun.is_empty() && !self.is_too_long) {
            return None;
        }
        // The last line needs no end.
        self.number += 1;
        self.finish()
    }

    /// Waits for more of the body; false at its end. Cancel safe.
    ///
    /// # Errors
    ///
    /// The body is broken, or too many bytes have no content.
    pub async fn fill(&mut self) -> Result<bool, Problem> {
        if self.wasted > self.max_wasted {
            let detail = format!("{} bytes in a row have no line that could be one", self.wasted);
            return Err(Problem::new(hyper::StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        consume_budget().await;
        match self.body.next().await {
            Some(piece) => self.piece = piece?,
            None => self.ended = true,
        }
        Ok(!self.ended)
    }

    fn begin(&mut self, part: &[u8]) {
        self.is_too_long |= self.begun.len() + part.len() > self.max_line;
        if self.is_too_long {
            self.begun = BytesMut::new();
            self.wasted += part.len();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    fn finish(&mut self) -> Option<Line> {
        match std::mem::take(&mut self.is_too_long) {
            true => Some(Line::TooLong),
            false => Some(Line::Whole(self.begun.split().freeze())).filter(says_something),
        }
    }
}

fn says_something(line: &Line) -> bool {
    !matches!(line, Line::Whole(text) if text.trim_ascii().is_empty())
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("number", &self.number).finish_non_exhaustive()
    }
}
