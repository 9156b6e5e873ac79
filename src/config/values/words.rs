//! Words of a known set.

use highwater_kafka::{group::Assignor, security::SaslMechanism};

use super::{Values, digits};
use crate::{activity::LoggedEvents, telemetry::Filter};

/// One of these words.
pub(in crate::config) struct OneOf<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

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

/// A listener's security protocol (`security.protocol` of Kafka's clients).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Protocol {
    pub(in crate::config) tls: bool,
    pub(in crate::config) sasl: bool,
}

/// The mechanism by which this service authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Mechanism {
    /// A user's password.
    Password(SaslMechanism),
    /// A token.
    OauthBearer,
}

/// Assignors in the order of preference.
pub(in crate::config) struct Assignors;

impl Values for Assignors {
    type Value = Vec<Assignor>;

    fn parse(&self, text: &str) -> Option<Vec<Assignor>> {
        let named: Vec<Assignor> =
            text.split(',').map(|name| Assignor::from_name(name.trim())).collect::<Option<_>>()?;
        let once = named.iter().enumerate().all(|(index, assignor)| !named[..index].contains(assignor));
        once.then_some(named)
    }

    fn allowed(&self) -> String {
        let names: Vec<&str> = Assignor::ALL.into_iter().map(Assignor::name).collect();
        format!("{}, or both with a comma between them, the preferred one first", names.join(" or "))
    }
}

/// Directives of env_logger.
pub(in crate::config) struct Directives;

impl Values for Directives {
    type Value = Filter;

    fn parse(&self, text: &str) -> Option<Filter> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "a level (off, error, warn, info, debug, trace), or target=level, with commas between them".into()
    }
}

/// The share of logged events: all, none, or one of so many.
pub(in crate::config) struct Share;

impl Values for Share {
    type Value = LoggedEvents;

    fn parse(&self, text: &str) -> Option<LoggedEvents> {
        match text.strip_prefix("1/") {
            Some(events) => {
                let events = u32::try_from(digits(events)?).ok()?;
                (events > 0).then_some(LoggedEvents::one_of(events))
            }
            None => OneOf(&[("all", LoggedEvents::ALL), ("none", LoggedEvents::NONE)]).parse(text),
        }
    }

    fn allowed(&self) -> String {
        "all, none, or a share such as 1/100".into()
    }
}
