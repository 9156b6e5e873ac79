//! Which pages of other sites may ask: the Fetch standard's CORS protocol.

use warp::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    reply::Response,
};

/// The request headers that a page may send beside the safelisted ones.
const SENT: HeaderValue = HeaderValue::from_static("content-type, idempotency-key, x-correlation-id");
/// The response headers that a page may read beside the safelisted ones.
const READ: HeaderValue = HeaderValue::from_static("link, location, retry-after, x-correlation-id");
/// How long a browser need not ask again, in seconds: the longest that browsers take.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The sites whose pages may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Every site.
    Any,
    /// These origins, such as `https://example.org`.
    Origins(Vec<String>),
}

impl Cors {
    /// Whether a page of that origin may ask.
    pub fn admits(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Origins(origins) => origins.iter().any(|known| known.as_bytes() == origin.as_bytes()),
        }
    }

    /// The answer to a request of a page from `origin`. Asked beforehand what it may (`preflight`), it is told the
    /// methods that are in `Allow` already. Of another site nothing is said, which a browser takes for a no.
    pub fn on(&self, mut response: Response, origin: &HeaderValue, preflight: bool) -> Response {
        let allowed = match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Origins(_) => {
                // A cache must not give one site's answer to another.
                response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
                self.admits(origin).then(|| origin.clone())
            }
        };
        let Some(allowed) = allowed else { return response };
        let is_preflight = preflight && response.status() == StatusCode::NO_CONTENT;
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if is_preflight {
            if let Some(methods) = headers.get(header::ALLOW).cloned() {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
        response
    }
}
