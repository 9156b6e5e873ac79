//! The text of cursors, which is opaque to clients: numbers of 64 bits as 16 hexadecimal digits each.

/// The text of a cursor.
pub fn encode<const NUMBERS: usize>(numbers: [u64; NUMBERS]) -> String {
    numbers.iter().map(|number| format!("{number:016x}")).collect()
}

/// The numbers of a cursor; `None` where the text is not a cursor of that many numbers.
pub fn decode<const NUMBERS: usize>(cursor: &str) -> Option<[u64; NUMBERS]> {
    if cursor.len() != 16 * NUMBERS || !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut numbers = [0; NUMBERS];
    for (number, at) in numbers.iter_mut().zip((0..).step_by(16)) {
        *number = u64::from_str_radix(&cursor[at..at + 16], 16).ok()?;
    }
    Some(numbers)
}
