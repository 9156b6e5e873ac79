//! The pages of other sites that may send requests: the CORS protocol of the Fetch standard.

use warp::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};

/// The request headers that a page may send beside the safelisted ones.
const SENT: [&str; 9] = [
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "last-event-id",
    "x-api-key",
    "x-correlation-id",
    // Segment's client for browsers sends it on each attempt but the first.
    "x-retry-count",
];
/// The response headers that a page may read beside the safelisted ones.
const READ: HeaderValue = HeaderValue::from_static(
    "etag, highwater-partitions, kafka-offset, kafka-partition, link, location, ratelimit, ratelimit-policy, \
     retry-after, schema-violations, www-authenticate, x-correlation-id",
);
/// The time for which a browser may keep the answer, in seconds: the longest that browsers use.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The sites whose pages may send requests, and the allowed requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The allowed sites.
    pub origins: AllowedOrigins,
    /// Headers that pages may send beside those that this service reads.
    pub headers: Vec<HeaderName>,
    /// Whether browsers send credentials. Browsers reject that with [`AllowedOrigins::Any`].
    pub credentials: bool,
}

/// Sites, by their origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every site.
    Any,
    /// These origins, such as `https://example.org`.
    These(Vec<String>),
}

/// A request of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossOriginRequest {
    origin: HeaderValue,
    /// The request is a preflight.
    is_preflight: bool,
}

impl CrossOriginRequest {
    /// The page that a request says it comes from. A request with two origins has none.
    pub fn from_request<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let is_preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        Some(Self { origin: origin.clone(), is_preflight })
    }
}

impl Cors {
    /// Whether a page of that origin may send requests.
    pub fn admits(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            AllowedOrigins::Any => true,
            AllowedOrigins::These(origins) => {
                origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
            }
        }
    }

    /// Adds the header fields by which a browser lets a page read the answer. The answer to a preflight also lists the
    /// methods, which are in `Allow` already. A site that is not allowed gets none of these fields, and the browser refuses
    /// the page.
    pub fn on<B>(&self, answer: &mut Response<B>, page: &CrossOriginRequest) {
        let CrossOriginRequest { origin, is_preflight } = page;
        let is_preflight = *is_preflight && answer.status() == StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        let allowed = match self.origins {
            AllowedOrigins::Any => Some(HeaderValue::from_static("*")),
            AllowedOrigins::These(_) => {
                // A cache must not give one site's answer to another.
                headers.append(header::VARY, HeaderValue::from_static("origin"));
                self.admits(origin).then(|| origin.clone())
            }
        };
        let Some(allowed) = allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if is_preflight {
            if let Some(methods) = headers.get(header::ALLOW).cloned() {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            let names = SENT.into_iter().chain(self.headers.iter().map(HeaderName::as_str));
            // Names of headers are valid header values.
            if let Ok(names) = HeaderValue::try_from(names.collect::<Vec<_>>().join(", ")) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
            }
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }
}
