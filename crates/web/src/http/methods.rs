//! Requests that no route takes: an unknown path, or a known one with another method.

use warp::{
    Reply,
    http::{HeaderValue, Method, StatusCode, header},
    reply::Response,
};

use super::Problem;

/// 404: nothing is at that path.
pub fn nothing(path: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

/// The answer to a request that no route took: 404 where the path has no methods; else 204 to OPTIONS and 405 to the rest,
/// both with the path's methods in `Allow`, for example `GET, HEAD, OPTIONS`. `OPTIONS *` asks about the whole service, and
/// gets 204 without `Allow` (RFC 9110, section 9.3.7).
pub fn refuse(method: &Method, path: &str, allow: Option<&'static str>) -> Response {
    let is_options = method == Method::OPTIONS;
    if is_options && path == "*" {
        return StatusCode::NO_CONTENT.into_response();
    }
    let Some(allow) = allow else {
        return nothing(path).into_response();
    };
    let allowed = HeaderValue::from_static(allow);
    if is_options {
        let mut response = StatusCode::NO_CONTENT.into_response();
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let detail = format!("{path} does not take {method}; it takes {allow}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).with_header(header::ALLOW, allowed).into_response()
}
