//! The kinds of values a setting takes: how each is read, and its bounds in words.

use std::{
    marker::PhantomData,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    http::Bearer,
    messaging::{group::Assignor, security::Secret},
    telemetry::Filter,
};

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

/// A whole number within bounds that fit a `T`.
pub(super) struct Whole<T> {
    least: u64,
    most: u64,
    into: PhantomData<fn() -> T>,
}

impl<T> Whole<T> {
    pub(super) const fn from(least: u64) -> Self {
        Self { least, most: least, into: PhantomData }
    }

    pub(super) const fn to(self, most: u64) -> Self {
        Self { most, ..self }
    }
}

impl<T: TryFrom<u64>> Values for Whole<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        let number = digits(text)?;
        (self.least..=self.most).contains(&number).then(|| T::try_from(number).ok())?
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.least, self.most)
    }
}

/// A number of bytes within bounds that fit a `T`.
pub(super) struct Size<T>(Whole<T>);

/// Larger units first, so that a bound is told in the largest that divides it.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl<T> Size<T> {
    pub(super) const fn from(least: u64) -> Self {
        Self(Whole::from(least))
    }

    pub(super) const fn to(self, most: u64) -> Self {
        Self(Whole { most, ..self.0 })
    }
}

impl<T: TryFrom<u64>> Values for Size<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        let bytes = match SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes))) {
            Some((count, bytes)) => digits(count)?.checked_mul(*bytes)?,
            None => digits(text)?,
        };
        (self.0.least..=self.0.most).contains(&bytes).then(|| T::try_from(bytes).ok())?
    }

    fn allowed(&self) -> String {
        format!(
            "a size (70000, 64KiB, 1MiB) from {} to {}",
            in_units(self.0.least, &SIZES),
            in_units(self.0.most, &SIZES)
        )
    }
}

/// A length of time within bounds.
pub(super) struct Durations {
    least: Duration,
    most: Duration,
}

/// In milliseconds.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("ms", 1), ("s", 1_000)];

impl Durations {
    pub(super) const fn from(least: Duration) -> Self {
        Self { least, most: least }
    }

    pub(super) const fn to(self, most: Duration) -> Self {
        Self { most, ..self }
    }
}

impl Values for Durations {
    type Value = Duration;

    fn parse(&self, text: &str) -> Option<Duration> {
        // "ms" stands before "s" in TIMES, which would leave an m before its count.
        let (count, millis) =
            TIMES.iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)))?;
        let duration = Duration::from_millis(digits(count)?.checked_mul(*millis)?);
        (self.least..=self.most).contains(&duration).then_some(duration)
    }

    fn allowed(&self) -> String {
        let least = show_duration(self.least);
        let most = show_duration(self.most);
        format!("a duration (500ms, 5s, 7d) from {least} to {most}")
    }
}

/// A duration as a setting would be written.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    in_units(millis, &[TIMES[0], TIMES[1], TIMES[2], TIMES[4], TIMES[3]])
}

/// The amount in the largest unit that divides it.
fn in_units(amount: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, size)| amount >= *size && amount.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", amount / size),
        None => amount.to_string(),
    }
}

/// Digits and nothing else: `u64::from_str` takes a plus sign, too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// One of some words.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + Sync> Values for OneOf<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    fn allowed(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        words.join(" or ")
    }
}

/// An address of this machine.
pub(super) struct Host;

impl Values for Host {
    type Value = IpAddr;

    fn parse(&self, text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "an IP address such as 0.0.0.0, 127.0.0.1 or ::".into()
    }
}

/// Bootstrap addresses.
pub(super) struct Brokers;

impl Values for Brokers {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        text.split(',').map(str::trim).map(|broker| is_broker(broker).then(|| broker.to_owned())).collect()
    }

    fn allowed(&self) -> String {
        "host:port, or several with commas between them; an IPv6 address stands in brackets".into()
    }
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(in_name)
        }
    };
    is_host && digits(port).is_some_and(|port| (1..=65_535).contains(&port))
}

/// A topic's name, by the rules of `org.apache.kafka.common.internals.Topic`.
pub(super) struct TopicName;

impl TopicName {
    /// Characters; all of them are of one byte.
    pub(super) const LONGEST: usize = 249;
}

impl Values for TopicName {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_topic = (1..=Self::LONGEST).contains(&text.len())
            && text.chars().all(legal)
            && !matches!(text, "." | "..");
        is_topic.then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        format!("1 to {} letters, digits, dots, dashes or underscores, but not . or ..", Self::LONGEST)
    }
}

/// A name that Kafka takes as it is.
pub(super) struct Text {
    /// In characters.
    pub(super) longest: usize,
}

impl Values for Text {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        is_text(text, self.longest).then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        format!("1 to {} characters, none of them a control character", self.longest)
    }
}

fn is_text(text: &str, longest: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control)
}

/// A password.
pub(super) struct Password;

impl Values for Password {
    type Value = Secret;

    fn parse(&self, text: &str) -> Option<Secret> {
        (!text.contains('\0')).then(|| Secret::new(text))
    }

    fn allowed(&self) -> String {
        "a text, which is never shown".into()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// A token that requests carry (RFC 6750, `b64token`, and what else can stand in a header without blanks).
pub(super) struct Token;

impl Token {
    /// In characters: fewer could be guessed.
    const SHORTEST: usize = 16;
    const LONGEST: usize = 1_024;
}

impl Values for Token {
    type Value = Bearer;

    fn parse(&self, text: &str) -> Option<Bearer> {
        let fits = (Self::SHORTEST..=Self::LONGEST).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Bearer::of(text))
    }

    fn allowed(&self) -> String {
        format!(
            "{} to {} visible ASCII characters without blanks, which are never shown",
            Self::SHORTEST,
            Self::LONGEST
        )
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// A file to be read at the start.
pub(super) struct File;

impl Values for File {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }

    fn allowed(&self) -> String {
        "the path of a file that can be read".into()
    }
}

/// Event types.
pub(super) struct EventTypes;

impl Values for EventTypes {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        text.split(',').map(str::trim).map(|name| is_text(name, 256).then(|| name.to_owned())).collect()
    }

    fn allowed(&self) -> String {
        "names with commas between them, none of them blank".into()
    }
}

/// Assignors, the one liked best first.
pub(super) struct Assignors;

impl Values for Assignors {
    type Value = Vec<Assignor>;

    fn parse(&self, text: &str) -> Option<Vec<Assignor>> {
        let named: Vec<Assignor> =
            text.split(',').map(|name| Assignor::named(name.trim())).collect::<Option<_>>()?;
        let once = named.iter().enumerate().all(|(place, assignor)| !named[..place].contains(assignor));
        once.then_some(named)
    }

    fn allowed(&self) -> String {
        let names: Vec<&str> = Assignor::ALL.into_iter().map(Assignor::name).collect();
        format!("{}, or both with a comma between them, the one liked best first", names.join(" or "))
    }
}

/// What env_logger makes of RUST_LOG.
pub(super) struct Directives;

impl Values for Directives {
    type Value = Filter;

    fn parse(&self, text: &str) -> Option<Filter> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "a level (off, error, warn, info, debug, trace), or target=level, with commas between them".into()
    }
}
