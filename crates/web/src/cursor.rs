//! The text of cursors: whole numbers in hexadecimal, with hyphens between them. Clients need not understand it.

use std::fmt::Write as _;

/// The fault of a text that is no cursor of its listing.
pub const UNKNOWN: &str = "is not one that an answer had: start again without it";

/// The text of a cursor.
pub fn encode(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut text = String::new();
    for number in numbers {
        let separator = if text.is_empty() { "" } else { "-" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{number:x}");
    }
    text
}

/// The numbers of a cursor.
///
/// # Errors
///
/// [`UNKNOWN`]: the text is no cursor.
pub fn decode(text: &str) -> Result<Vec<u64>, &'static str> {
    // from_str_radix would take a sign.
    let is_plain = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number =
        |digits: &str| Some(digits).filter(is_plain).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    text.split('-').map(number).collect::<Option<_>>().ok_or(UNKNOWN)
}
