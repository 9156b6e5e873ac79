//! Errors as `application/problem+json`, RFC 9457.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, error::Category};
use warp::{
    Reply,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    reply::Response,
};

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error answer.
///
/// `type` is always `about:blank`: by RFC 9457, section 4.2.1, the status then tells the kind of the problem, and `title` is
/// the status' own phrase. `detail` has the particulars.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

/// A fault of one field of the body, one parameter of the query or one part of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// The field's name, as the client wrote it.
    pub field: Cow<'static, str>,
    /// The requirement, for a person to read.
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// A fault of the field of this name.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// An error, as RFC 9457 has it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemBody<'a> {
    /// The status says what kind of problem it is.
    #[schemars(extend("const" = "about:blank"))]
    r#type: &'static str,
    /// The status' own phrase.
    title: &'static str,
    /// The status of the answer.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// The occurrence and, where it helps, the remedy.
    detail: &'a str,
    /// The faults of single fields and parameters.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    #[schemars(skip)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem with this status; `detail` says what happened and, where it helps, what to do.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            members: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400, for a request that cannot be understood as a whole.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400 for a body that cannot be read as a JSON object.
    pub fn unreadable(error: &serde_json::Error) -> Self {
        match error.classify() {
            Category::Data => Self::bad_request("the body must be a JSON object"),
            _ => Self::bad_request(format!("the body is not JSON: {error}")),
        }
    }

    /// 400 with the faults of fields. All faults of a request belong in one answer.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{} {}", one.field, one.message),
            many => format!("{} fields are not valid", many.len()),
        };
        Self::bad_request(detail).with_errors(errors)
    }

    /// 503: the request may succeed after `retry_after` seconds.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(retry_after))
    }

    /// 500. The cause is for the log, never for the client.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here; the service's log says what")
    }

    /// Adds faults of single fields.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds an extension member beside the standard ones.
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The detail, for a person to read.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The faults of single fields.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// The headers of the answer, beside its media type.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The text of a member beside the standard ones.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.0.members.get(name)?.as_str()
    }

    /// The members beside the standard ones.
    pub(super) fn members(&self) -> &Map<String, Value> {
        &self.0.members
    }

    /// Whether the same request may succeed later.
    pub fn may_succeed_later(&self) -> bool {
        matches!(self.0.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The body.
    pub fn json(&self) -> Vec<u8> {
        self.json_with(&self.0.detail, &self.0.members)
    }

    /// The body, for a problem of one event among many: `retryAfter` stands for `Retry-After`, in seconds.
    pub fn item_json(&self) -> Vec<u8> {
        let mut members = self.0.members.clone();
        let retry_after = self.0.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        if let Some(seconds) = retry_after.and_then(|text| text.parse::<u64>().ok()) {
            members.insert("retryAfter".to_owned(), seconds.into());
        }
        match self.0.detail.strip_prefix("the body") {
            Some(rest) => self.json_with(&format!("the event{rest}"), &members),
            None => self.json_with(&self.0.detail, &members),
        }
    }

    fn json_with(&self, detail: &str, members: &Map<String, Value>) -> Vec<u8> {
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.0.status.canonical_reason().unwrap_or("Error"),
            status: self.0.status.as_u16(),
            detail,
            errors: &self.0.errors,
            members,
        };
        // Strings, numbers and values that are JSON already cannot fail to serialize.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The whole answer as HTTP/1.1 sends it, for a connection that no service answers; it closes.
    pub(super) fn http1(&self) -> Vec<u8> {
        let body = self.json();
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nconnection: close\r\n",
            self.0.status.as_u16(),
            self.0.status.canonical_reason().unwrap_or("Error"),
            body.len()
        )
        .into_bytes();
        for (name, value) in &self.0.headers {
            answer.extend_from_slice(name.as_str().as_bytes());
            answer.extend_from_slice(b": ");
            answer.extend_from_slice(value.as_bytes());
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        answer
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.json().into());
        *response.status_mut() = self.0.status;
        *response.headers_mut() = self.0.headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}
