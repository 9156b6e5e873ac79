//! The kinds of values that a setting takes, with their parsers and their bounds in words.

mod access;
mod addresses;
mod amounts;
mod names;
mod secrets;
mod sites;
mod traces;
mod words;

pub(super) use access::{AuthMethods, Jwks, RatesASecond};
pub(super) use addresses::{Brokers, File, Folder, Host, Networks};
pub(super) use amounts::{Durations, Size, Whole};
pub(super) use names::{EventTypes, Extensions, InstanceId, Text, TopicName};
pub(super) use secrets::{Password, Token};
pub(super) use sites::{AwsEndpoint, HeaderNames, HostNames, HttpUrl, Origins, TrustedOrigins};
pub(super) use traces::{Attributes, HTTP_JSON, Headers, MILLISECONDS, Ratio, SAMPLERS, Sampling};
pub(super) use words::{Assignors, Directives, Mechanism, OneOf, Protocol, Share};

/// A kind of value.
pub(super) trait Values: Sync {
    /// The type of the parsed value.
    type Value;

    /// Parses a trimmed text; `None` where it is not allowed.
    fn parse(&self, text: &str) -> Option<Self::Value>;

    /// The allowed values, as the end of a sentence that begins with "must be".
    fn allowed(&self) -> String;

    /// Whether the text must not be shown.
    fn is_secret(&self, _: &str) -> bool {
        false
    }
}

/// An optional value, whose absence is an empty text or a word.
pub(super) struct Or<V> {
    word: &'static str,
    values: V,
}

impl<V> Or<V> {
    /// An empty text stands for `None`.
    pub(super) const fn unset(values: V) -> Self {
        Self { word: "", values }
    }

    /// This word stands for `None`.
    pub(super) const fn word(word: &'static str, values: V) -> Self {
        Self { word, values }
    }
}

impl<V: Values> Values for Or<V> {
    type Value = Option<V::Value>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        if text == self.word { Some(None) } else { self.values.parse(text).map(Some) }
    }

    fn allowed(&self) -> String {
        match self.word {
            "" => self.values.allowed(),
            word => format!("{word}, or {}", self.values.allowed()),
        }
    }

    fn is_secret(&self, text: &str) -> bool {
        self.values.is_secret(text)
    }
}

/// Parses digits alone; `u64::from_str` takes a plus sign as well.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
