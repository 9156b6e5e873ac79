//! Bearer tokens (RFC 6750).

use std::fmt;

use hyper::{
    StatusCode,
    header::{HeaderValue, WWW_AUTHENTICATE},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Problem;

/// A bearer token, kept as a hash alone, so that nothing can print the token.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken([u8; 32]);

impl BearerToken {
    /// The hash of this token.
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Authorizes a request by its `Authorization`; else 401 with a challenge in `WWW-Authenticate`. The comparison of hashes
    /// takes constant time.
    pub fn authorize(&self, authorization: Option<&HeaderValue>) -> Result<(), Problem> {
        let Some(authorization) = authorization else {
            return Err(refusal("a token is needed: Authorization: Bearer …", "Bearer realm=\"highwater\""));
        };
        let given = authorization.as_bytes();
        let (scheme, token) = given.split_at_checked(b"Bearer ".len()).unwrap_or((given, b""));
        let hash: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        if scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(hash.ct_eq(&self.0)) {
            return Ok(());
        }
        Err(refusal("the token is not the right one", "Bearer realm=\"highwater\", error=\"invalid_token\""))
    }
}

/// Shows no token.
impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(…)")
    }
}

fn refusal(detail: &'static str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
