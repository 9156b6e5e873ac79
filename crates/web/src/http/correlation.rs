//! `X-Correlation-Id`: one id for a request and all its consequences, in every service.

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
    /// The longest accepted id, in bytes.
    pub const LONGEST: usize = 128;

    /// The client's id, unless it is empty, too long, or has characters other than visible ASCII.
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let is_id = value.len() <= Self::LONGEST
            && !value.is_empty()
            && value.as_bytes().iter().all(u8::is_ascii_graphic);
        is_id.then(|| Self(value.clone()))
    }

    /// A new id.
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::new_v4())
    }

    /// An id from that of something else.
    pub fn from_uuid(id: Uuid) -> Self {
        let text = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned();
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// The same id, noted as that of the current request. The server and the log then know it even if the handler is
    /// dropped, or answers with an error that lacks it.
    #[must_use]
    pub fn of_this_request(self) -> Self {
        current_request::correlate(&self);
        self
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The answer with the id in its head.
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
