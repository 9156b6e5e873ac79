//! Parameters of path and query, percent-decoded: warp does not decode them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{FieldError, Problem};

/// The characters to encode in a query's value or a segment: all but the unreserved ones of RFC 3986, section 2.3.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters to encode in a path inside `<…>`. The path itself is encoded already.
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// The `Link` header of the next page (RFC 8288): the path as it came, with these parameters.
pub fn next_link<'a>(path: &str, parameters: impl Iterator<Item = (&'a str, String)>) -> String {
    let parameters: Vec<String> =
        parameters.map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, VALUE))).collect();
    format!("<{}?{}>; rel=\"next\"", utf8_percent_encode(path, PATH), parameters.join("&"))
}

/// The most unknown parameters that one answer names, and the most characters of each.
const MOST_UNKNOWN: usize = 5;
const QUOTED: usize = 60;

/// The parameters of a query. It takes what a route asks for and gathers every fault, so that one answer can name them all.
/// A parameter that the route does not ask for is a fault, too: a misspelt filter would otherwise return what it was to
/// leave out.
#[derive(Debug)]
pub struct Parameters<'q> {
    query: &'q str,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'q> Parameters<'q> {
    /// The parameters of a query as it came, without its question mark.
    pub fn new(query: &'q str) -> Self {
        Self { query, known: Vec::new(), errors: Vec::new() }
    }

    /// A text. A plus stands for a space, as HTML forms and most clients send it.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let raw = self.raw(name)?;
        let spaced = if raw.contains('+') { Cow::Owned(raw.replace('+', " ")) } else { Cow::Borrowed(raw) };
        self.decoded(name, &spaced)
    }

    /// A value that `parse` understands; its error says what the parameter must be. A plus stands for itself here, so that
    /// `2024-05-01T10:00:00+02:00` may come as it is.
    pub fn parsed<T, E>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T>
    where
        E: Into<Cow<'static, str>>,
    {
        let raw = self.raw(name)?;
        let text = self.decoded(name, raw)?;
        parse(&text).map_err(|message| self.fault(name, message)).ok()
    }

    /// Notes a fault of a parameter.
    pub fn fault(&mut self, name: &'static str, message: impl Into<Cow<'static, str>>) {
        self.errors.push(FieldError::new(name, message));
    }

    /// Whether the query has such a parameter.
    pub fn has(&self, name: &str) -> bool {
        values(self.query, name).next().is_some()
    }

    /// Ends the reading: the faults, if there were any. A parameter that was not asked for until now is one.
    pub fn finish(mut self) -> Result<(), Problem> {
        let mut unknown: Vec<Cow<'q, str>> = Vec::new();
        for (key, _) in pairs(self.query) {
            let is_told = || self.errors.iter().any(|error| error.field == key) || unknown.contains(&key);
            if !key.is_empty() && !self.known.contains(&&*key) && !is_told() && unknown.len() < MOST_UNKNOWN {
                unknown.push(key);
            }
        }
        for name in unknown {
            let name: String = name.chars().take(QUOTED).collect();
            let message = format!("is not known here, but only {}", self.known.join(", "));
            self.errors.push(FieldError::new(name, message));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn raw(&mut self, name: &'static str) -> Option<&'q str> {
        self.known.push(name);
        let mut values = values(self.query, name);
        let first = values.next()?;
        if values.next().is_some() {
            self.fault(name, "is given more than once");
            return None;
        }
        Some(first)
    }

    fn decoded(&mut self, name: &'static str, raw: &str) -> Option<String> {
        let text = percent_decoded(raw).map(Cow::into_owned);
        if text.is_none() {
            self.fault(name, NOT_DECODABLE);
        }
        text
    }
}

fn values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = &'q str> {
    pairs(query).filter(move |(key, _)| key == name).map(|(_, value)| value)
}

/// Each parameter's name, decoded as far as possible, and its value as it came.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    query.split('&').map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(key).unwrap_or(Cow::Borrowed(key)), value)
    })
}

const NOT_DECODABLE: &str = "is not percent-encoded UTF-8";

/// A segment of a path, decoded; faults are reported under `name`.
pub fn segment(name: &'static str, raw: &str) -> Result<String, Problem> {
    percent_decoded(raw)
        .map(Cow::into_owned)
        .ok_or_else(|| Problem::invalid(vec![FieldError::new(name, NOT_DECODABLE)]))
}

/// A text, encoded as a segment of a path.
pub fn encode_segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, VALUE)
}

/// Percent-encoded text, decoded; `None` where it is no encoding of UTF-8.
pub fn percent_decoded(raw: &str) -> Option<Cow<'_, str>> {
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = &rest[at + 3..];
    }
    percent_decode_str(raw).decode_utf8().ok()
}
