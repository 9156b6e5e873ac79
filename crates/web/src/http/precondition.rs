//! Versions of answers: `ETag`, and `If-Match` against changes that the client has not seen.
//! RFC 9110, sections 8.8.3 and 13.1.1.

use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::Problem;

/// The strong ETag of a version.
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The answer with the ETag of its version.
pub fn with_etag(mut response: Response, version: u64) -> Response {
    if let Ok(value) = HeaderValue::try_from(etag(version)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// Whether a request with this `If-Match` may change a resource of this version.
///
/// # Errors
///
/// 412 with the current version.
pub fn check_match(if_match: Option<&HeaderValue>, version: u64) -> Result<(), Problem> {
    let Some(wanted) = if_match else { return Ok(()) };
    let current = etag(version);
    let wanted = wanted.as_bytes();
    let tags = wanted.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    // The comparison is strong: a weak tag matches nothing.
    if wanted.trim_ascii() == b"*" || tags.into_iter().any(|tag| tag == current.as_bytes()) {
        return Ok(());
    }
    let detail = format!("it was changed meanwhile: its ETag is {current} now");
    let problem = Problem::new(StatusCode::PRECONDITION_FAILED, detail);
    Err(match HeaderValue::try_from(current) {
        Ok(current) => problem.with_header(header::ETAG, current),
        Err(_) => problem,
    })
}
