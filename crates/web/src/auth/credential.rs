//! The credential of a request.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{
    Request,
    header::{AUTHORIZATION, HeaderName},
};

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The place of a request's credential, and the credential.
pub(super) enum Credential<'a> {
    None,
    /// `Authorization: Bearer`.
    Bearer(&'a [u8]),
    /// `X-Api-Key`, or the user of `Authorization: Basic` without a password.
    ApiKey(Cow<'a, [u8]>),
    /// `Authorization` has another scheme.
    Unknown,
    Several,
}

impl<'a> Credential<'a> {
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        let mut given = request.headers().get_all(AUTHORIZATION).iter().map(|value| (true, value));
        let mut keys = request.headers().get_all(&API_KEY).iter().map(|value| (false, value));
        let first = given.next().or_else(|| keys.next());
        if given.next().or_else(|| keys.next()).is_some() {
            return Self::Several;
        }
        match first {
            None => Self::None,
            Some((false, value)) => Self::ApiKey(value.as_bytes().trim_ascii().into()),
            Some((true, value)) => match value.as_bytes().split_at_checked(b"Bearer ".len()) {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
                    Self::Bearer(token.trim_ascii())
                }
                _ => basic_user(value.as_bytes()).map_or(Self::Unknown, |user| Self::ApiKey(user.into())),
            },
        }
    }
}

/// The user of `Authorization: Basic` (RFC 7617), where there is no password.
fn basic_user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = authorization.split_at_checked(b"Basic ".len())?;
    let mut user = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
    let is_alone =
        scheme.eq_ignore_ascii_case(b"Basic ") && user.pop() == Some(b':') && !user.contains(&b':');
    is_alone.then_some(user)
}
