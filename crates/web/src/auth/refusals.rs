//! The answers to a client that is not let in: 401 and 403 with `WWW-Authenticate` (RFC 6750, section 3).

use hyper::{
    StatusCode,
    header::{HeaderValue, WWW_AUTHENTICATE},
};

use super::scope::Scope;
use crate::http::Problem;

/// 401: there is no credential.
pub(crate) fn missing() -> Problem {
    refusal(
        StatusCode::UNAUTHORIZED,
        "a key or a token is needed: Authorization: Bearer …, or X-Api-Key",
        "Bearer realm=\"highwater\"".to_owned(),
    )
}

/// 401: the credential is unknown.
pub(crate) fn invalid() -> Problem {
    let challenge = "Bearer realm=\"highwater\", error=\"invalid_token\"".to_owned();
    refusal(StatusCode::UNAUTHORIZED, "the key or token is not valid", challenge)
}

/// 401: the credential has expired.
pub(crate) fn expired() -> Problem {
    let challenge =
        "Bearer realm=\"highwater\", error=\"invalid_token\", error_description=\"expired\"".to_owned();
    refusal(StatusCode::UNAUTHORIZED, "the key or token has expired, or is not valid yet", challenge)
}

/// 400: there are several credentials, which may contradict each other.
pub(crate) fn several() -> Problem {
    refusal(
        StatusCode::BAD_REQUEST,
        "send one key or token, in one header",
        "Bearer realm=\"highwater\", error=\"invalid_request\"".to_owned(),
    )
}

/// 403: the client may not do that. It needs one of these scopes.
pub(crate) fn insufficient(scopes: &[Scope]) -> Problem {
    let names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
    refusal(
        StatusCode::FORBIDDEN,
        format!("this key or token may not do that: it needs the scope {}", names.join(" or ")),
        format!(
            "Bearer realm=\"highwater\", error=\"insufficient_scope\", scope=\"{}\"",
            names.first().copied().unwrap_or_default()
        ),
    )
}

/// 403: the client may do that to its own data alone.
pub(crate) fn foreign(scope: Scope) -> Problem {
    refusal(
        StatusCode::FORBIDDEN,
        "this key or token is for what is its subject's own: the userId must be its subject",
        format!("Bearer realm=\"highwater\", error=\"insufficient_scope\", scope=\"{scope}\""),
    )
}

/// 503: the issuer of tokens has not told its keys yet.
pub(crate) fn unchecked() -> Problem {
    Problem::unavailable("tokens cannot be checked now: their issuer does not answer", 10)
}

fn refusal(
    status: StatusCode,
    detail: impl Into<std::borrow::Cow<'static, str>>,
    challenge: String,
) -> Problem {
    let problem = Problem::new(status, detail);
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => problem.with_header(WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}
