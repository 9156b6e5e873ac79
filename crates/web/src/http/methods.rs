//! Requests that no route takes: an unknown path, or a known one with another method.

use warp::{
    Reply,
    http::{HeaderValue, Method, StatusCode, header},
    reply::Response,
};

use super::Problem;

/// 404: no service is at that path.
pub fn nothing(path: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

/// The answer to a request that no route took: 404 where the path has no methods; else 204 to OPTIONS
/// and 405 to the rest, both with the path's methods in `Allow`, for example `GET, HEAD, OPTIONS`.
pub fn refuse(method: &Method, path: &str, allow: Option<&'static str>) -> Response {
    let Some(allow) = allow else {
        return nothing(path).into_response();
    };
    let allowed = HeaderValue::from_static(allow);
    if method == Method::OPTIONS {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let detail = format!("{path} does not take {method}; it takes {allow}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).with_header(header::ALLOW, allowed).into_response()
}
