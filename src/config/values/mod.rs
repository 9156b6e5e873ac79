//! The kinds of values a setting takes: how each is read, and its bounds in words.

mod access;
mod addresses;
mod amounts;
mod names;
mod secrets;
mod sites;
mod words;

pub(super) use access::{AuthMethods, HttpUrl, Jwks, RatesASecond};
pub(super) use addresses::{Brokers, File, Host, Networks};
pub(super) use amounts::{Durations, Size, Whole};
pub(super) use names::{EventTypes, InstanceId, Text, TopicName};
pub(super) use secrets::{Password, Token};
pub(super) use sites::{Endpoint, HeaderNames, HostNames, Origins, TrustedOrigins};
pub(super) use words::{Assignors, Directives, OneOf, Protocol};

/// A kind of value.
pub(super) trait Values: Sync {
    /// What it becomes.
    type Value;

    /// Reads it; `None` where it is not allowed. The text is trimmed.
    fn parse(&self, text: &str) -> Option<Self::Value>;

    /// What is allowed, to go after "must be".
    fn allowed(&self) -> String;

    /// Whether its text is nobody's business.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A value that may be left out, which is told by an empty text or by a word of its own.
pub(super) struct Or<V> {
    word: &'static str,
    values: V,
}

impl<V> Or<V> {
    /// Nothing at all stands for `None`.
    pub(super) const fn unset(values: V) -> Self {
        Self { word: "", values }
    }

    /// The word stands for `None`.
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

    fn is_secret(&self) -> bool {
        self.values.is_secret()
    }
}

/// Digits and nothing else: `u64::from_str` takes a plus sign, too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
