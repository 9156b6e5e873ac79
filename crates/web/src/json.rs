//! Inspects JSON text without building a value.

use std::borrow::Cow;

/// The text of a JSON value that is a string, borrowed unless it has escapes.
///
/// # Errors
///
/// The fault, such as `must be a string`. Escapes can be well formed and mean nothing: half of a surrogate pair.
pub fn text(json: &str) -> Result<Cow<'_, str>, &'static str> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or("must be a string")?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).map(Cow::Owned).map_err(|_| "has an escape that is no character")
}

/// The byte order mark at the beginning of a text, as a fault: it is invisible, and JSON has none (RFC 8259, 8.1).
pub fn byte_order_mark(text: &[u8]) -> Option<&'static str> {
    match text {
        [0xef, 0xbb, 0xbf, ..] => Some("a byte order mark (U+FEFF)"),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => Some("the byte order mark of UTF-16"),
        _ => None,
    }
}

/// Whether arrays and objects nest deeper than `most` levels. For text that is not JSON, `false` says only that a parser
/// would not go deeper.
pub fn nests_deeper(json: &[u8], most: usize) -> bool {
    // Most text opens fewer brackets in all. Many bytes are counted at a time.
    if memchr::memchr2_iter(b'[', b'{', json).nth(most).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            b'"' if !escaped => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = in_string && *byte == b'\\' && !escaped;
    }
    false
}

/// Whether valid JSON has no blanks between its tokens.
pub fn is_compact(json: &str) -> bool {
    let mut compact = Vec::new();
    !has_blanks(json.as_bytes()) || {
        push_compact(&mut compact, json);
        compact.len() == json.len()
    }
}

/// Whether valid JSON has blanks between its tokens or spaces within its strings: it has nothing else up to the space. Looked
/// for without a branch, so that many bytes are seen at once: most payloads are compact, and done with this.
fn has_blanks(json: &[u8]) -> bool {
    json.iter().fold(false, |found, byte| found | (*byte <= b' '))
}

/// Appends valid JSON without the blanks between its tokens: the result is one line.
pub fn push_compact(to: &mut Vec<u8>, json: &str) {
    let json = json.as_bytes();
    if !has_blanks(json) {
        to.extend_from_slice(json);
        return;
    }
    let (mut kept, mut at) = (0, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = after_string(json, at),
            b' ' | b'\t' | b'\n' | b'\r' => {
                to.extend_from_slice(&json[kept..at]);
                at += 1;
                kept = at;
            }
            _ => at += 1,
        }
    }
    to.extend_from_slice(&json[kept..]);
}

/// The place after the string that begins at `at`.
fn after_string(json: &[u8], mut at: usize) -> usize {
    loop {
        at += 1;
        match json.get(at) {
            Some(b'\\') => at += 1,
            Some(b'"') | None => return at + 1,
            Some(_) => {}
        }
    }
}
