//! Secrets.

use highwater_kafka::security::Secret;
use highwater_web::http::BearerToken;

use super::Values;

/// A password.
pub(in crate::config) struct Password;

impl Values for Password {
    type Value = Secret;

    fn parse(&self, text: &str) -> Option<Secret> {
        (!text.contains('\0')).then(|| Secret::new(text))
    }

    fn allowed(&self) -> String {
        "a text, which is never shown".into()
    }

    fn is_secret(&self, _: &str) -> bool {
        true
    }
}

/// A bearer token: any visible ASCII characters, which include those of RFC 6750's `b64token`.
pub(in crate::config) struct Token;

impl Token {
    /// The shortest token, in characters; a shorter one could be guessed.
    const SHORTEST: usize = 16;
    const LONGEST: usize = 1_024;
}

impl Values for Token {
    type Value = BearerToken;

    fn parse(&self, text: &str) -> Option<BearerToken> {
        let fits = (Self::SHORTEST..=Self::LONGEST).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| BearerToken::new(text))
    }

    fn allowed(&self) -> String {
        format!(
            "{} to {} visible ASCII characters without blanks, which are never shown",
            Self::SHORTEST,
            Self::LONGEST
        )
    }

    fn is_secret(&self, _: &str) -> bool {
        true
    }
}
