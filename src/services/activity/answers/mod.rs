//! What the service answers, a file a kind of answer.

pub(super) mod event;
pub(super) mod group;
pub(super) mod health;
pub(super) mod listing;
pub(super) mod metrics;
pub(super) mod published;

pub use metrics::Metrics;
use warp::{
    http::{HeaderValue, header},
    reply::Response,
};

use crate::{
    http::{JSON, Problem},
    store::StoreError,
};

/// An answer of JSON that is there already.
fn json(body: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// 503: the store cannot be asked now. Why is for the log.
fn store_is_away(error: &StoreError) -> Problem {
    log::error!("a read failed: {error}");
    Problem::unavailable("the store of processed events cannot be read now", 1)
}
