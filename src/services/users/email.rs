//! E-mail addresses: which are taken, and when two of them are the same.

use std::borrow::Cow;

use super::punycode;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const LONGEST: usize = 254;
/// The longest part before the @ (RFC 5321, section 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;
/// What a label begins with that is in ASCII in place of another script (RFC 5890, section 2.3.1).
const IN_ASCII: &str = "xn--";
/// The longest label of a domain (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// An address without surrounding blanks, if it is one: `local@domain`, any script in both (RFC 6531). Not that
/// somebody reads what is sent there: nobody but its owner can say that.
///
/// # Errors
///
/// What it must be.
pub fn parse(text: &str) -> Result<&str, &'static str> {
    const SHAPE: &str = "must be an e-mail address, such as ann@example.org";
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').ok_or(SHAPE)?;
    let printable = |c: char| {
        !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '<' | '>' | ',' | ';' | '"' | '\u{fffd}')
    };
    let is_label = |label: &str| {
        let fine = |c: char| c.is_alphanumeric() || c == '-' || !c.is_ascii();
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.chars().all(fine)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if local.is_empty()
        || !text.replacen('@', "", 1).chars().all(printable)
        || !domain.split('.').all(is_label)
    {
        return Err(SHAPE);
    }
    if text.len() > LONGEST || local.len() > LONGEST_LOCAL {
        return Err("must be at most 254 bytes long, and at most 64 before the @");
    }
    Ok(text)
}

/// What is the same for addresses that differ in case or surrounding blanks alone, or in how the domain is written:
/// as people read it, or in ASCII (`bücher.example`, `xn--bcher-kva.example`). It is a record's key for ever: never
/// change it.
pub fn normal_form(address: &str) -> String {
    let address = address.trim().to_lowercase();
    match address.rsplit_once('@') {
        Some((local, domain)) if domain.contains(IN_ASCII) => {
            let labels: Vec<_> = domain.split('.').map(as_read).collect();
            format!("{local}@{}", labels.join("."))
        }
        _ => address,
    }
}

/// What a domain's label in ASCII stands for (an A-label of RFC 5890, section 2.3.2.1); any other is left as it is.
fn as_read(label: &str) -> Cow<'_, str> {
    let read = label.strip_prefix(IN_ASCII).and_then(punycode::decode);
    read.filter(|read| !read.is_ascii()).map_or(label.into(), |read| read.to_lowercase().into())
}
