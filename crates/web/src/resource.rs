//! One entity over REST: its id in the path, its version in the ETag.

use serde::Serialize;
use uuid::Uuid;
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::identity::uuid;
use crate::http::{FieldError, Problem, answer, segment, with_etag};

/// The id in a segment of the path; faults are reported under `name`.
///
/// # Errors
///
/// 400 for a text that is no id.
pub fn id(name: &'static str, raw: &str) -> Result<Uuid, Problem> {
    let fault = |message| Problem::invalid(vec![FieldError::new(name, message)]);
    uuid(&segment(name, raw)?).map_err(fault)
}

/// 200: the entity as it is now.
pub fn current(body: &impl Serialize, version: u64) -> Response {
    with_etag(answer(StatusCode::OK, body), version)
}

/// 201: the new entity, which is at that path from now on.
pub fn created(path: &str, body: &impl Serialize, version: u64) -> Response {
    let mut response = answer(StatusCode::CREATED, body);
    if let Ok(location) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    with_etag(response, version)
}
