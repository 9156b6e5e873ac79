//! Idempotent requests: the same key gives the same answer, in any instance.
//!
//! The header is `Idempotency-Key` of the IETF's draft of that name (draft-ietf-httpapi-idempotency-key-header): a string of
//! RFC 8941, as `"k"`. Most clients send `k`, which is the same key. The event of the request contains an id of the key, so
//! every instance has the key for as long as the event.

use std::{borrow::Cow, convert::Infallible};

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use warp::{
    Filter,
    http::{HeaderMap, HeaderValue, StatusCode},
};

use super::identity;
use crate::http::{FieldError, Problem, openapi::Operation};

/// The header.
const HEADER: &str = "idempotency-key";
/// The header in its usual spelling.
const WRITTEN: &str = "Idempotency-Key";
/// The longest key, in bytes.
const LONGEST: usize = 255;
const KEYS: Uuid = uuid::uuid!("9c7a7d53-65f5-4c3c-8a5e-0d0e5f2d7a11");
const BODIES: Uuid = uuid::uuid!("b1a5f6d4-52c8-4f0a-9f36-2a4c8d1b6e12");

/// The identity of a request, by which a repetition is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Idempotency {
    /// Its key, as an id (version 5 of RFC 9562).
    pub key: Uuid,
    /// The request's content, as an id: blanks and the order of fields make no difference.
    pub body: Uuid,
}

/// Extracts every value of the header of a request.
pub fn header() -> impl Filter<Extract = (Vec<HeaderValue>,), Error = Infallible> + Copy {
    warp::header::headers_cloned()
        .map(|headers: HeaderMap| headers.get_all(HEADER).into_iter().cloned().collect())
}

impl Idempotency {
    /// The idempotency of a request with these values of the header and this content; `None` without the header.
    ///
    /// # Errors
    ///
    /// 400 for a malformed key, and for two keys.
    pub fn read(header: &[HeaderValue], asked: &impl Serialize) -> Result<Option<Self>, Problem> {
        let fault = |message: String| Problem::invalid(vec![FieldError::new(WRITTEN, message)]);
        let value = match header {
            [] => return Ok(None),
            [one] => one,
            _ => return Err(fault("is given more than once".into())),
        };
        let is_key = |key: &Cow<'_, [u8]>| {
            let is_in_ascii = key.iter().all(|byte| (0x20..0x7f).contains(byte));
            is_in_ascii && key.len() <= LONGEST && !key.trim_ascii().is_empty()
        };
        let key = unquoted(value.as_bytes().trim_ascii()).filter(is_key).ok_or_else(|| {
            fault(format!(
                "must be 1 to {LONGEST} visible ASCII characters, as a string of RFC 8941 or as they are"
            ))
        })?;
        if str::from_utf8(&key).is_ok_and(|key| Uuid::try_parse(key).is_ok_and(identity::is_none)) {
            let none = "must not be the nil or the max UUID, which stand for no value (RFC 9562, 5.9, 5.10)";
            return Err(fault(none.into()));
        }
        let asked = serde_json::to_vec(asked).map_err(|error| {
            log::error!("a request cannot be written down: {error}");
            Problem::internal()
        })?;
        Ok(Some(Self { key: Uuid::new_v5(&KEYS, &key), body: Uuid::new_v5(&BODIES, &asked) }))
    }

    /// Describes the header that [`Idempotency::read`] reads.
    pub fn describe(operation: Operation) -> Operation {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[ -~]*[!-~][ -~]*$" });
        operation
            .header(
                WRITTEN,
                "With it the request can be sent again: it happens once. `\"k\"` is the same key as `k`.",
                schema,
            )
            .problem("keyUsed", "The Idempotency-Key came with another request before.", used_otherwise())
    }

    /// The id of the one thing that requests with this key make within `scope`.
    pub fn id_in(&self, scope: Uuid) -> Uuid {
        Uuid::new_v5(&scope, self.key.as_bytes())
    }
}

/// The content of a string of RFC 8941 (section 3.3.3), without its quotes and escapes. A value without a quote at its
/// beginning is returned as it is. `None` for a malformed string.
fn unquoted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(rest) = value.strip_prefix(b"\"") else { return Some(value.into()) };
    let mut said = Vec::with_capacity(rest.len());
    let mut bytes = rest.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(said.into()),
            b'\\' => said.push(*bytes.next().filter(|byte| matches!(byte, b'"' | b'\\'))?),
            byte => said.push(*byte),
        }
    }
}

/// 422: the key was used for something else.
pub fn used_otherwise() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "this Idempotency-Key came with another request before; a new request needs a new key",
    )
}
