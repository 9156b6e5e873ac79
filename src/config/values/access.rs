//! The access of clients and their limits.

use std::{num::NonZeroU32, path::PathBuf};

use highwater_net::client::Url;
use highwater_web::auth::{KeySource, Rates};

use super::{HttpUrl, Values, digits};

/// The ways in which clients authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::config) struct Methods {
    pub(in crate::config) api_key: bool,
    pub(in crate::config) jwt: bool,
}

/// A list of ways in which clients authenticate.
pub(in crate::config) struct AuthMethods;

impl Values for AuthMethods {
    type Value = Methods;

    fn parse(&self, text: &str) -> Option<Methods> {
        if text == "none" {
            return Some(Methods::default());
        }
        text.split(',').map(str::trim).try_fold(Methods::default(), |methods, name| match name {
            "api-key" if !methods.api_key => Some(Methods { api_key: true, ..methods }),
            "jwt" if !methods.jwt => Some(Methods { jwt: true, ..methods }),
            _ => None,
        })
    }

    fn allowed(&self) -> String {
        "none, or api-key, jwt or both with a comma between them".into()
    }
}

/// Limits of requests and events a second.
pub(in crate::config) struct RatesASecond;

impl Values for RatesASecond {
    type Value = Rates;

    fn parse(&self, text: &str) -> Option<Rates> {
        text.split(',').map(str::trim).try_fold(Rates::default(), |rates, part| {
            let (name, number) = part.split_once('=')?;
            let number = Some(NonZeroU32::new(digits(number)?.try_into().ok()?)?);
            match name {
                "requests" if rates.requests.is_none() => Some(Rates { requests: number, ..rates }),
                "events" if rates.events.is_none() => Some(Rates { events: number, ..rates }),
                _ => None,
            }
        })
    }

    fn allowed(&self) -> String {
        "requests=100, events=1000, or both with a comma between them".into()
    }
}

/// The place of an issuer's keys.
pub(in crate::config) struct Jwks;

impl Values for Jwks {
    type Value = KeySource;

    fn parse(&self, text: &str) -> Option<KeySource> {
        match text.contains("://") {
            true => Url::parse(text).map(KeySource::Url),
            false => (!text.is_empty() && !text.contains('\0')).then(|| KeySource::File(PathBuf::from(text))),
        }
    }

    fn allowed(&self) -> String {
        "a URL of HTTP, or the path of a file that can be read".into()
    }

    fn is_secret(&self, text: &str) -> bool {
        text.contains("://") && HttpUrl.is_secret(text)
    }
}
