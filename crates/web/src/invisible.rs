//! Invisible characters: a name with no other characters is blank.

/// `Default_Ignorable_Code_Point` of Unicode 16: characters that are invisible where they have nothing to act on, such as a
/// zero-width space or a byte order mark. The list also has two symbols with an empty picture: a Braille pattern without a
/// dot (U+2800) and a note head that is not drawn (U+1D159).
const INVISIBLE: [(char, char); 19] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// A class of visible characters, for a regular expression of ECMA 262, without those in the class that begins with
/// `$besides`. It leaves out the characters of [`is_invisible`] beyond the first plane, which not every engine knows.
#[macro_export]
macro_rules! visible {
    ($besides:literal) => {
        concat!(
            $besides,
            r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164",
            r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8]"
        )
    };
}
pub use visible;

/// Whether the character is invisible among others.
pub fn is_invisible(c: char) -> bool {
    INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Whether a text has no visible character: it is empty, or has blanks (`White_Space`), control characters and invisible
/// characters alone.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || is_invisible(c))
}
