//! JSON text, looked at without building anything from it.

/// Whether arrays and objects nest deeper than so many levels. Of text that is not JSON it tells only
/// that a parser would not have to go deeper.
pub fn nests_deeper(json: &[u8], most: usize) -> bool {
    // Most text opens fewer brackets than that in all, which is counted many bytes at a time.
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

/// Appends valid JSON without the blanks between its tokens: it is then one line, whatever it was.
pub fn push_compact(to: &mut Vec<u8>, json: &str) {
    if !json.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        to.extend_from_slice(json.as_bytes());
        return;
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => continue,
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && byte == b'\\' && !escaped;
        to.push(byte);
    }
}
