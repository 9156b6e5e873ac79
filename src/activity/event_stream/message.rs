//! Server-sent events, as the HTML standard has them (section 9.2).
//!
//! The id of each is a cursor, so that a client goes on from there with `Last-Event-ID`. A message without data sets the id
//! of the next connection too, and no client hears of it.

use std::{fmt::Write as _, ops::Range};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    activity::cursor,
    store::{ActivityEvent, Positions, Span},
};

/// The time for which a client waits before it connects again, in milliseconds.
const RETRY: u32 = 2_000;

/// The reason for which a stream ends. Its client goes on by connecting again, with the id of the last event that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::activity) enum End {
    /// The events were too fast for the reader.
    Slow,
    /// The instance has other partitions than before, or other events of one.
    Moved,
    /// The stream has lasted for as long as one may.
    Renewed,
    /// The instance stops.
    Stopping,
}

impl End {
    /// The last message: an event of the type `end`, which `onmessage` does not hear.
    pub(in crate::activity) fn message(self) -> String {
        let (reason, detail) = match self {
            Self::Slow => ("slow", "the events came faster than they were read"),
            Self::Moved => ("moved", "what this instance holds has changed"),
            Self::Renewed => ("renewed", "a stream lasts 15 minutes, or as long as its credential"),
            Self::Stopping => ("stopping", "this instance stops"),
        };
        let detail = format!("{detail}; connect again with Last-Event-ID to go on");
        format!("event: end\ndata: {{\"reason\":\"{reason}\",\"detail\":\"{detail}\"}}\n\n")
    }
}

/// The first message: the wait before a client connects again, and the position at which the stream begins.
pub(super) fn opening(positions: &Positions) -> Bytes {
    format!("retry: {RETRY}\n{}\n", id_line(positions)).into()
}

/// A sign of life, with the position where that is new.
pub(super) fn heartbeat(positions: Option<&Positions>) -> Bytes {
    format!(":\n{}\n", positions.map(id_line).unwrap_or_default()).into()
}

/// Writes an event, and the cursor after it.
pub(super) fn push(text: &mut BytesMut, after: &Positions, event: &ActivityEvent) {
    text.put_slice(id_line(after).as_bytes());
    text.put_slice(b"data: ");
    // One line: JSON has no line ends but escaped ones.
    text.put_slice(event.json());
    text.put_slice(b"\n\n");
}

/// Positions of partitions, in each from the first to before the last, whose events have left the store.
pub(in crate::activity) struct Gap(pub(in crate::activity) Span);

impl Gap {
    /// The events from that cursor on that have left a store. The store has all events from `complete_from` on. No events were
    /// asked for of a partition that the cursor does not name.
    pub(super) fn after(cursor: &Positions, complete_from: &Positions) -> Option<Self> {
        let range = |(partition, end): (&i32, &i64)| {
            let begin = cursor.0.get(partition).filter(|begin| *begin < end)?;
            Some((*partition, *begin..*end))
        };
        let span = Span(complete_from.0.iter().filter_map(range).collect());
        (!span.is_empty()).then_some(Self(span))
    }

    /// The message, with the cursor after it: an event of the type `gap`, which `onmessage` does not hear. A client that has it
    /// is not told again.
    pub(in crate::activity) fn message(&self, after: &Positions) -> String {
        let range = |(partition, range): (&i32, &Range<i64>)| {
            format!("{{\"partition\":{partition},\"from\":{},\"to\":{}}}", range.start, range.end)
        };
        let missing: Vec<_> = self.0.0.iter().map(range).collect();
        let (id, missing) = (id_line(after), missing.join(","));
        let detail = "the events at these positions are not held any more";
        format!("event: gap\n{id}data: {{\"missing\":[{missing}],\"detail\":\"{detail}\"}}\n\n")
    }
}

/// The line with the id. There is none without partitions, since these have no cursor.
fn id_line(positions: &Positions) -> String {
    let mut line = String::new();
    if !positions.0.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(line, "id: {}", cursor::encode(positions));
    }
    line
}
