//! Answers of JSON.

use bytes::Bytes;
use serde::Serialize;
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{JSON, Problem};

/// An answer of JSON that is ready.
pub fn json(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// An answer with this status, whose body is serialized now.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let mut response = json(body);
            *response.status_mut() = status;
            response
        }
        Err(error) => {
            log::error!("an answer cannot be serialized: {error}");
            Problem::internal().into_response()
        }
    }
}
