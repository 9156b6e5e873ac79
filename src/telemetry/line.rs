//! A line of the log, as text or as JSON.
//!
//! An event is logged twice on its way, so that a line must cost little: nothing is allocated for
//! values of ordinary length, and the time of day is formatted once a second.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::DateTime;
use log::{
    Level, Record,
    kv::{self, Key, Value, VisitSource, VisitValue},
};

use super::{
    Format,
    escape::{self, LONGEST},
};

/// Writes the record, with its line end.
pub(super) fn write(out: &mut impl Write, format: Format, record: &Record<'_>) -> io::Result<()> {
    match format {
        Format::Text => text(out, record),
        Format::Json => json(out, record),
    }
}

fn text(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    timestamp(out)?;
    out.write_all(match record.level() {
        Level::Error => b" ERROR ",
        Level::Warn => b" WARN  ",
        Level::Info => b" INFO  ",
        Level::Debug => b" DEBUG ",
        Level::Trace => b" TRACE ",
    })?;
    escape::message(out, record.target())?;
    out.write_all(b" ")?;
    with_message(record, |message| escape::message(out, message))?;
    fields(&mut Fields { out, format: Format::Text }, record)?;
    out.write_all(b"\n")
}

fn json(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    out.write_all(b"{\"timestamp\":\"")?;
    timestamp(out)?;
    out.write_all(b"\",\"level\":\"")?;
    out.write_all(record.level().as_str().as_bytes())?;
    out.write_all(b"\",\"target\":")?;
    escape::quoted(out, record.target())?;
    out.write_all(b",\"message\":")?;
    with_message(record, |message| escape::quoted(out, message))?;
    fields(&mut Fields { out, format: Format::Json }, record)?;
    out.write_all(b"}\n")
}

fn fields<W: Write>(fields: &mut Fields<'_, W>, record: &Record<'_>) -> io::Result<()> {
    record.key_values().visit(fields).map_err(io::Error::other)
}

/// Writes names and values behind the message.
struct Fields<'a, W> {
    out: &'a mut W,
    format: Format,
}

impl<'v, W: Write> VisitSource<'v> for Fields<'_, W> {
    fn visit_pair(&mut self, name: Key<'v>, value: Value<'v>) -> Result<(), kv::Error> {
        match self.format {
            Format::Text => {
                self.out.write_all(b" ")?;
                escape::value(self.out, name.as_str())?;
                self.out.write_all(b"=")?;
            }
            Format::Json => {
                self.out.write_all(b",")?;
                // The line's own names are taken; a field of that name stands beside, not in place of it.
                match name.as_str() {
                    taken @ ("timestamp" | "level" | "target" | "message") => {
                        write!(self.out, "\"_{taken}\"")?;
                    }
                    name => escape::quoted(self.out, name)?,
                }
                self.out.write_all(b":")?;
            }
        }
        value.visit(self)
    }
}

impl<W: Write> Fields<'_, W> {
    /// A number or a truth value: the same in text and in JSON.
    fn bare(&mut self, value: impl fmt::Display) -> Result<(), kv::Error> {
        Ok(write!(self.out, "{value}")?)
    }
}

impl<'v, W: Write> VisitValue<'v> for Fields<'_, W> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        with_text(&value, |text| match self.format {
            Format::Text => escape::value(self.out, text),
            Format::Json => escape::quoted(self.out, text),
        })?;
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        match self.format {
            Format::Text => escape::value(self.out, value)?,
            Format::Json => escape::quoted(self.out, value)?,
        }
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.bare("null")
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.bare(value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.bare(value)
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.bare(value)
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.bare(value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has no word for what is not finite.
        if value.is_finite() { self.bare(value) } else { self.visit_str(&value.to_string()) }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.bare(value)
    }
}

fn with_message(record: &Record<'_>, take: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
    match record.args().as_str() {
        Some(fixed) => take(fixed),
        None => with_text(record.args(), take),
    }
}

/// Hands over the value's text, from the stack if it is short; a value beyond all bounds is cut.
fn with_text(value: &impl fmt::Display, take: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
    let mut short = Short { bytes: [0; 256], len: 0 };
    if write!(short, "{value}").is_ok() {
        // Only whole strings are appended, so this is UTF-8.
        return take(std::str::from_utf8(&short.bytes[..short.len]).map_err(io::Error::other)?);
    }
    let mut long = Long(String::new());
    // An error is a value that cannot be displayed, or one that is long enough: what there is, is taken.
    let _ = write!(long, "{value}");
    take(&long.0)
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
        // Room for one character more than is shown, which tells that there was more.
        let room = (LONGEST + 4).saturating_sub(self.0.len());
        let fitting = &text[..text.floor_char_boundary(room)];
        self.0.push_str(fitting);
        if fitting.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The length of `2026-11-21T07:43:00`.
const SECOND: usize = 19;

/// Writes the time as ISO 8601 in UTC with milliseconds.
fn timestamp(out: &mut impl Write) -> io::Result<()> {
    thread_local! {
        /// The second that was formatted last, and what came out.
        static LAST: Cell<(u64, [u8; SECOND])> = const { Cell::new((u64::MAX, [0; SECOND])) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = LAST.get();
    if second != now.as_secs() {
        second = now.as_secs();
        let time = DateTime::from_timestamp(i64::try_from(second).unwrap_or_default(), 0).unwrap_or_default();
        write!(&mut text[..], "{}", time.format("%Y-%m-%dT%H:%M:%S"))?;
        LAST.set((second, text));
    }
    let millis = now.subsec_millis();
    // At most 999: three digits.
    let digit = |power: u32| b'0' + (millis / power % 10) as u8;
    out.write_all(&text)?;
    out.write_all(&[b'.', digit(100), digit(10), digit(1), b'Z'])
}
