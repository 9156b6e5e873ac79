//! Keeps values within their line and their field, whatever they hold.
//!
//! What moves a cursor, ends a line or turns the direction of writing is escaped as in JSON, in text and
//! in JSON alike: C0 and C1 controls, DEL, U+2028 and U+2029, and the marks of bidirectional text.

use std::io::{self, Write};

/// The longest value that is written whole, in bytes. A longer one is cut, and ends in `…`.
pub(super) const LONGEST: usize = 8 * 1024;

/// What a byte may mean in a line.
#[derive(Clone, Copy)]
enum Class {
    /// Itself, anywhere.
    Plain,
    /// Itself in a message, but not in a bare value.
    Quoted,
    /// Escaped in quotes.
    Marked,
    /// Escaped anywhere.
    Control,
    /// Part of a character beyond ASCII, which is itself.
    Beyond,
    /// The first byte of a character beyond ASCII that may have to be escaped.
    Suspect,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'"' | b'\\' => Class::Marked,
            b' ' | b'=' => Class::Quoted,
            0..0x20 | 0x7f => Class::Control,
            // U+0080 to U+00BF, with the C1 controls; U+2000 to U+2FFF; both have spaces, too.
            0xc2 | 0xe2 => Class::Suspect,
            0x80.. => Class::Beyond,
            _ => Class::Plain,
        };
        byte += 1;
    }
    classes
};

/// Bytes that stand for themselves within quotes, in a message, and in a bare value.
const IN_QUOTES: [bool; 256] = passing([true, true, false, false, true, false]);
const IN_MESSAGE: [bool; 256] = passing([true, true, true, false, true, false]);
const IN_BARE_VALUE: [bool; 256] = passing([true, false, false, false, false, false]);

/// The bytes whose class passes, in the order of the classes.
const fn passing(passes: [bool; 6]) -> [bool; 256] {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = passes[CLASSES[byte] as usize];
        byte += 1;
    }
    bytes
}

/// Writes a message: as it is, but for what would not stay on its line.
pub(super) fn message(out: &mut impl Write, text: &str) -> io::Result<()> {
    escaped(out, text, &IN_MESSAGE)
}

/// Writes a value of a text line: bare if nothing in it can be mistaken for the line's own signs, else quoted.
pub(super) fn value(out: &mut impl Write, text: &str) -> io::Result<()> {
    if (1..=LONGEST).contains(&text.len()) && is_bare(text) {
        return out.write_all(text.as_bytes());
    }
    quoted(out, text)
}

fn is_bare(text: &str) -> bool {
    if text.bytes().all(|byte| IN_BARE_VALUE[usize::from(byte)]) {
        return true;
    }
    let bare = |c: char| match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => IN_BARE_VALUE[usize::from(byte)],
        // Spaces beyond ASCII look like the line's own.
        _ => !c.is_whitespace() && !is_harmful(c),
    };
    text.chars().all(bare)
}

/// Writes a JSON string.
pub(super) fn quoted(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    escaped(out, text, &IN_QUOTES)?;
    out.write_all(b"\"")
}

/// Writes stretches of passing bytes at once, and what is between them escaped.
fn escaped(out: &mut impl Write, text: &str, passes: &[bool; 256]) -> io::Result<()> {
    let whole = text.len() <= LONGEST;
    let mut rest = if whole { text } else { &text[..text.floor_char_boundary(LONGEST)] };
    loop {
        let halt = rest.bytes().position(|byte| !passes[usize::from(byte)]).unwrap_or(rest.len());
        let (passing, halted) = rest.split_at(halt);
        out.write_all(passing.as_bytes())?;
        let mut chars = halted.chars();
        match chars.next() {
            None => break,
            Some('"') => out.write_all(b"\\\"")?,
            Some('\\') => out.write_all(b"\\\\")?,
            Some('\n') => out.write_all(b"\\n")?,
            Some('\r') => out.write_all(b"\\r")?,
            Some('\t') => out.write_all(b"\\t")?,
            Some(c) if is_harmful(c) => write!(out, "\\u{:04x}", u32::from(c))?,
            Some(c) => out.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?,
        }
        rest = chars.as_str();
    }
    if whole { Ok(()) } else { out.write_all("…".as_bytes()) }
}

fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}
