//! `X-Correlation-Id`: one id for a request and for all that follows from it, in every service.

use std::convert::Infallible;

use uuid::Uuid;
use warp::{
    Filter,
    http::{HeaderName, HeaderValue},
    reply::Response,
};

use super::current_request;

/// The header, in requests and answers.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// The id of a request.
#[derive(Debug, Clone)]
pub struct CorrelationId(HeaderValue);

impl CorrelationId {
    /// The longest id that is taken, in bytes.
    pub const LONGEST: usize = 128;

    /// The id that the client gave, unless it is empty, long, or has other than visible ASCII characters.
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let is_id = value.len() <= Self::LONGEST
            && !value.is_empty()
            && value.as_bytes().iter().all(u8::is_ascii_graphic);
        is_id.then(|| Self(value.clone()))
    }

    /// A new one.
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::new_v4())
    }

    /// That of something that has an id.
    pub fn from_uuid(id: Uuid) -> Self {
        let text = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned();
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// The same, as that of the request that is being answered: where its handler is given up, or answers with an error
    /// that does not have it, server and log still know it.
    #[must_use]
    pub fn of_this_request(self) -> Self {
        current_request::correlate(&self);
        self
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The answer, with the id in it.
    pub fn on(self, mut response: Response) -> Response {
        response.headers_mut().insert(CORRELATION_ID, self.0);
        response
    }
}

/// The id of a request: the client's, or a new one.
pub fn correlation() -> impl Filter<Extract = (CorrelationId,), Error = Infallible> + Copy {
    super::header("x-correlation-id").map(|given: Option<HeaderValue>| {
        given
            .as_ref()
            .and_then(CorrelationId::from_header)
            .unwrap_or_else(CorrelationId::generate)
            .of_this_request()
    })
}
