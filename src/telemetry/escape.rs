//! Escapes values, so that none breaks its line or imitates another field.
//!
//! Text and JSON lines both escape as JSON does: C0 and C1 controls, DEL, U+2028, U+2029 and bidirectional marks.

use std::io::Write;

/// The longest value that is written whole, in bytes. A longer one is cut and ends in `…`.
pub(super) const LONGEST: usize = 8 * 1024;

/// The classes of bytes.
#[derive(Clone, Copy)]
enum Class {
    /// Unescaped anywhere.
    Plain,
    /// Unescaped in a message, but not in a bare value.
    Quoted,
    /// Escaped within quotes.
    Marked,
    /// Escaped anywhere.
    Control,
    /// Part of a character beyond ASCII that is never escaped.
    Beyond,
    /// The first byte of a character beyond ASCII that may need escaping.
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
            // U+0080 to U+00BF with the C1 controls, U+0600 to U+063F, U+2000 to U+2FFF. Some are spaces.
            0xc2 | 0xd8 | 0xe2 => Class::Suspect,
            0x80.. => Class::Beyond,
            _ => Class::Plain,
        };
        byte += 1;
    }
    classes
};

/// The bytes that are unescaped within quotes, in a message, and in a bare value.
const IN_QUOTES: [bool; 256] = passing([true, true, false, false, true, false]);
const IN_MESSAGE: [bool; 256] = passing([true, true, true, false, true, false]);
const IN_BARE_VALUE: [bool; 256] = passing([true, false, false, false, false, false]);

/// The bytes whose classes pass; `passes` is in the order of the classes.
const fn passing(passes: [bool; 6]) -> [bool; 256] {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = passes[CLASSES[byte] as usize];
        byte += 1;
    }
    bytes
}

/// Appends a message, without quotes.
pub(super) fn message(line: &mut Vec<u8>, text: &str) {
    escaped(line, text, &IN_MESSAGE);
}

/// Appends a value of a text line: bare where it contains no quotes, spaces or equals signs, else quoted.
pub(super) fn value(line: &mut Vec<u8>, text: &str) {
    if (1..=LONGEST).contains(&text.len()) && is_bare(text) {
        line.extend_from_slice(text.as_bytes());
    } else {
        quoted(line, text);
    }
}

fn is_bare(text: &str) -> bool {
    if text.bytes().all(|byte| IN_BARE_VALUE[usize::from(byte)]) {
        return true;
    }
    let bare = |c: char| match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => IN_BARE_VALUE[usize::from(byte)],
        // Spaces beyond ASCII look like the separator.
        _ => !c.is_whitespace() && !is_harmful(c),
    };
    text.chars().all(bare)
}

/// Appends a JSON string.
pub(super) fn quoted(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    escaped(line, text, &IN_QUOTES);
    line.push(b'"');
}

/// Appends a text, and escapes all bytes that do not pass.
fn escaped(line: &mut Vec<u8>, text: &str, passes: &[bool; 256]) {
    let whole = text.len() <= LONGEST;
    let shown = if whole { text } else { &text[..text.floor_char_boundary(LONGEST)] };
    let before = line.len();
    if !passed(line, shown, passes) {
        line.truncate(before);
        rewrite(line, shown, passes);
    }
    if !whole {
        line.extend_from_slice("…".as_bytes());
    }
}

/// Appends a text that needs escaping.
fn rewrite(line: &mut Vec<u8>, mut rest: &str, passes: &[bool; 256]) {
    while !rest.is_empty() {
        let halt = rest.bytes().position(|byte| !passes[usize::from(byte)]).unwrap_or(rest.len());
        let (passing, halted) = rest.split_at(halt);
        line.extend_from_slice(passing.as_bytes());
        let mut chars = halted.chars();
        match chars.next() {
            None => {}
            Some('"') => line.extend_from_slice(b"\\\""),
            Some('\\') => line.extend_from_slice(b"\\\\"),
            Some('\n') => line.extend_from_slice(b"\\n"),
            Some('\r') => line.extend_from_slice(b"\\r"),
            Some('\t') => line.extend_from_slice(b"\\t"),
            Some(c) if is_harmful(c) => {
                // Writing to a Vec cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            Some(c) => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = chars.as_str();
    }
}

/// Appends the text unescaped. Returns whether all bytes pass. Nearly all texts are short and pass; for them, copying byte
/// by byte is cheaper than a call of memcpy.
fn passed(line: &mut Vec<u8>, text: &str, passes: &[bool; 256]) -> bool {
    let mut all = true;
    line.extend(text.as_bytes().iter().map(|byte| {
        all &= passes[usize::from(*byte)];
        *byte
    }));
    all
}

fn is_harmful(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}
