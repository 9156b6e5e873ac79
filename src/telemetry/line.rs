//! A log line, as text or as JSON.
//!
//! Each event is logged twice on its way, so a line must be cheap: values of ordinary length need no allocation, and the
//! time of day is formatted once a second.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::DateTime;
use highwater_web::trace::{self, TraceContext};
use log::{
    Level, Record,
    kv::{self, Key, Value, VisitSource, VisitValue},
};

use super::{
    Format,
    escape::{self, LONGEST},
};

/// Appends the record's line with a line feed.
pub(super) fn push(line: &mut Vec<u8>, format: Format, record: &Record<'_>) {
    match format {
        Format::Text => text(line, record),
        Format::Json => json(line, record),
    }
}

fn text(line: &mut Vec<u8>, record: &Record<'_>) {
    timestamp(line);
    line.extend_from_slice(match record.level() {
        Level::Error => b" ERROR ",
        Level::Warn => b" WARN  ",
        Level::Info => b" INFO  ",
        Level::Debug => b" DEBUG ",
        Level::Trace => b" TRACE ",
    });
    escape::message(line, record.target());
    line.push(b' ');
    with_message(record, |message| escape::message(line, message));
    fields(&mut Fields { line, format: Format::Text }, record);
    line.push(b'\n');
}

fn json(line: &mut Vec<u8>, record: &Record<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    timestamp(line);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(record.level().as_str().as_bytes());
    line.extend_from_slice(b"\",\"target\":");
    escape::quoted(line, record.target());
    line.extend_from_slice(b",\"message\":");
    with_message(record, |message| escape::quoted(line, message));
    fields(&mut Fields { line, format: Format::Json }, record);
    line.extend_from_slice(b"}\n");
}

fn fields(fields: &mut Fields<'_>, record: &Record<'_>) {
    // A value whose Display fails is written up to that point.
    let _ = record.key_values().visit(fields);
    // The ids of an unrecorded trace lead to nothing. The names are those of OpenTelemetry's "Trace Context in non-OTLP Log
    // Formats".
    if let Some(context) = trace::current().filter(TraceContext::is_sampled) {
        let _ = fields.visit_pair(Key::from_str("trace_id"), Value::from_display(&context.trace_id));
        let _ = fields.visit_pair(Key::from_str("span_id"), Value::from_display(&context.span_id));
    }
}

/// Appends names and values after the message.
struct Fields<'a> {
    line: &'a mut Vec<u8>,
    format: Format,
}

impl<'v> VisitSource<'v> for Fields<'_> {
    fn visit_pair(&mut self, name: Key<'v>, value: Value<'v>) -> Result<(), kv::Error> {
        match self.format {
            Format::Text => {
                self.line.push(b' ');
                escape::value(self.line, name.as_str());
                self.line.push(b'=');
            }
            Format::Json => {
                self.line.push(b',');
                // A field with one of the line's own names gets an underscore.
                match name.as_str() {
                    taken @ ("timestamp" | "level" | "target" | "message") => {
                        let _ = write!(self.line, "\"_{taken}\"");
                    }
                    name => escape::quoted(self.line, name),
                }
                self.line.push(b':');
            }
        }
        value.visit(self)
    }
}

impl Fields<'_> {
    /// Appends a number or a boolean, which are the same in text and JSON.
    fn bare(&mut self, value: impl fmt::Display) -> Result<(), kv::Error> {
        Ok(write!(self.line, "{value}")?)
    }

    fn text(&mut self, text: &str) {
        match self.format {
            Format::Text => escape::value(self.line, text),
            Format::Json => escape::quoted(self.line, text),
        }
    }
}

impl<'v> VisitValue<'v> for Fields<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        with_text(&value, |text| self.text(text));
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.text(value);
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.bare("null")
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        Ok(())
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.bare(value)
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.bare(value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has no infinities and no NaN.
        if value.is_finite() { self.bare(value) } else { self.visit_str(&value.to_string()) }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.bare(value)
    }
}

fn with_message(record: &Record<'_>, take: impl FnOnce(&str)) {
    match record.args().as_str() {
        Some(fixed) => take(fixed),
        None => with_text(record.args(), take),
    }
}

/// Calls `take` with the value's text. A short text is on the stack, and a very long one is cut.
fn with_text(value: &impl fmt::Display, take: impl FnOnce(&str)) {
    let mut short = Short { bytes: [0; 256], len: 0 };
    if write!(short, "{value}").is_ok() {
        // Only whole strings are appended, so the bytes are UTF-8.
        return take(std::str::from_utf8(&short.bytes[..short.len]).unwrap_or_default());
    }
    let mut long = Long(String::new());
    // An error means that Display failed or that the text is long enough. The text so far is used.
    let _ = write!(long, "{value}");
    take(&long.0);
}

struct Short {
    bytes: [u8; 256],
    len: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

struct Long(String);

impl fmt::Write for Long {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One character more than is shown marks the text as cut.
        let room = (LONGEST + 4).saturating_sub(self.0.len());
        let fitting = &text[..text.floor_char_boundary(room)];
        self.0.push_str(fitting);
        if fitting.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The length of `2026-11-21T07:43:00`.
const SECOND: usize = 19;

/// Appends the time as ISO 8601 in UTC with milliseconds.
fn timestamp(line: &mut Vec<u8>) {
    thread_local! {
        /// The last formatted second and its text.
        static LAST: Cell<(u64, [u8; SECOND])> = const { Cell::new((u64::MAX, [0; SECOND])) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = LAST.get();
    if second != now.as_secs() {
        second = now.as_secs();
        let time = DateTime::from_timestamp(i64::try_from(second).unwrap_or_default(), 0).unwrap_or_default();
        // A year beyond 9999 is cut.
        let _ = write!(&mut text[..], "{}", time.format("%Y-%m-%dT%H:%M:%S"));
        LAST.set((second, text));
    }
    let millis = now.subsec_millis();
    let digit = |power: u32| b'0' + (millis / power % 10) as u8;
    line.extend_from_slice(&text);
    line.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z']);
}
