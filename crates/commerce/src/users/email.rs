//! E-mail addresses: the accepted ones, and the form in which equal ones are the same.

use std::borrow::Cow;

use highwater_web::invisible::is_invisible;
use schemars::{Schema, SchemaGenerator, json_schema};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::punycode;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const LONGEST: usize = 254;
/// The longest part before the @ (RFC 5321, section 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;
/// The longest label of a domain (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;
/// The prefix of an A-label, the ASCII form of another script (RFC 5890, section 2.3.1).
const IN_ASCII: &str = "xn--";
/// The characters with a meaning of their own in a header or a link (the specials of RFC 5322, section 3.2.3, but for the
/// dot). Only a quoted address holds them: `mailto:ann@example.org` is none.
const SPECIALS: &str = "()<>[]:;@\\,\"";
/// The full stop of ideographic scripts, which ends a label like any other (UTS 46, section 4.5).
const IDEOGRAPHIC_STOP: char = '\u{3002}';

/// The format characters (Cf of Unicode 16) that are visible, and act on the characters beside them. With one of
/// them, as with invisible ones, two addresses could look the same.
const FORMAT: [(char, char); 9] = [
    ('\u{600}', '\u{605}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
];

/// An address without surrounding blanks, if it is one: `local@domain`, any script in both (RFC 6531). It does not prove
/// that somebody reads mail there: only its owner knows that.
///
/// # Errors
///
/// The requirement.
pub fn parse(text: &str) -> Result<&str, &'static str> {
    const SHAPE: &str = "must be an e-mail address, such as ann@example.org";
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').ok_or(SHAPE)?;
    let printable = |c: char| is_printable(c) && !SPECIALS.contains(c);
    if local.is_empty() || !text.replacen('@', "", 1).chars().all(printable) {
        return Err(SHAPE);
    }
    if text.chars().any(may_hide) {
        return Err("must have no character that nobody sees, such as a zero-width space");
    }
    if !normal_domain(domain).split('.').all(is_label) {
        return Err(SHAPE);
    }
    if text.len() > LONGEST || local.len() > LONGEST_LOCAL {
        return Err("must be at most 254 bytes long, and at most 64 before the @");
    }
    Ok(text)
}

/// A schema of [`parse`], without its rules about single characters.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 3,
        "maxLength": LONGEST,
        "pattern": "^[^@\\s]+@[^@\\s]+$",
        "examples": ["ann@example.org"],
    })
}

/// The common form of addresses that differ only in case, surrounding blanks, the composition of their characters (NFC), and
/// the writing of the domain: in its script, in full-width letters, or in ASCII (`bücher.example`, `xn--bcher-kva.example`).
/// It is a record's key for ever: never change it.
pub fn normal_form(address: &str) -> String {
    let address = address.trim();
    if address.is_ascii() && !address.contains("--") {
        return address.to_ascii_lowercase();
    }
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", composed(local), normal_domain(domain)),
        None => composed(address),
    }
}

/// The text in lower case, and composed as far as possible.
fn composed(text: &str) -> String {
    // Lower case can yield characters that compose.
    with_sigmas(text.nfc().collect::<String>().to_lowercase()).nfc().collect()
}

/// The text with the final small sigma at the ends of words, and the other one elsewhere, as Greek is written: both have the
/// same capital. Case folding (Unicode's `CaseFolding.txt`) would use the other one everywhere, and `ss` for `ß`; existing
/// keys would not be found again.
fn with_sigmas(lower: String) -> String {
    if !lower.contains(['σ', 'ς']) {
        return lower;
    }
    let mut spelt = String::with_capacity(lower.len());
    let (mut is_in_word, mut rest) = (false, lower.chars());
    while let Some(c) = rest.next() {
        let next = rest.clone().find(|c| !is_combining_mark(*c));
        spelt.push(match c {
            'σ' | 'ς' if is_in_word && !next.is_some_and(char::is_alphabetic) => 'ς',
            'σ' | 'ς' => 'σ',
            other => other,
        });
        is_in_word = c.is_alphabetic() || is_in_word && is_combining_mark(c);
    }
    spelt
}

/// A domain in its script. IDNA requires NFKC of a domain (RFC 5892, section 2.2), and NFC of the rest (RFC 6532, section
/// 3.1).
fn normal_domain(domain: &str) -> String {
    let folded: String = domain.nfkc().collect::<String>().to_lowercase().nfkc().collect();
    let labels: Vec<_> = folded.split(['.', IDEOGRAPHIC_STOP]).map(as_read).collect();
    labels.join(".")
}

/// The Unicode form of an A-label (RFC 5890, section 2.3.2.1). Any other label is left as it is, as is one that stands for
/// nothing, or for a label with another normal form.
fn as_read(label: &str) -> Cow<'_, str> {
    let read = label.strip_prefix(IN_ASCII).and_then(punycode::decode);
    let readable = |c: char| is_printable(c) && c != IDEOGRAPHIC_STOP && (!may_hide(c) || is_joiner(c));
    let is_normal = |read: &String| {
        let folded: String = read.nfkc().collect::<String>().to_lowercase().nfkc().collect();
        !read.is_ascii() && folded == *read && read.chars().all(readable)
    };
    read.filter(is_normal).map_or(label.into(), Into::into)
}

/// Whether the label can be in a domain in its normal form. That has no more labels in ASCII form, except for those that
/// stand for nothing.
fn is_label(label: &str) -> bool {
    let fine = |c: char| c.is_alphanumeric() || c == '-' || !c.is_ascii();
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.chars().all(fine)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.starts_with(IN_ASCII)
}

fn is_printable(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && c != '\u{fffd}'
}

/// Whether the character is a joiner. In some scripts a joiner makes another word (RFC 5892, appendix A). A domain with one
/// is to be given in ASCII, where it is visible.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn may_hide(c: char) -> bool {
    is_invisible(c) || FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&c))
}
