//! The answers of the routes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use highwater_kafka::dead_letter::{DlqReadError, RedriveError};
use sync_wrapper::SyncStream;
use tokio::time::Instant;
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    DlqAdmin,
    listing::Listing,
    request::{self, ListQuery},
};
use crate::http::{JSON, NDJSON, Problem, json_text, prefers};

/// `GET /dead-letters`: the newest first.
pub(super) async fn list(
    admin: Arc<DlqAdmin>,
    path: &str,
    query: &str,
    accept: Option<HeaderValue>,
) -> Response {
    answer(admin, path, query, accept).await.unwrap_or_else(Reply::into_response)
}

async fn answer(
    admin: Arc<DlqAdmin>,
    path: &str,
    query: &str,
    accept: Option<HeaderValue>,
) -> Result<Response, Problem> {
    let query = ListQuery::read(query)?;
    let lines = accept.is_some_and(|accept| prefers(accept.as_bytes(), NDJSON, JSON));
    let mut listing = Listing::begin(admin, query, lines);
    let (first, next) = listing.first().await.map_err(|error| {
        log::warn!("{error}");
        unreadable(&error)
    })?;
    let link = listing.query().limit.zip(next);
    let link = link.map(|(limit, cursor)| listing.query().next_link(path, limit, &cursor));
    let others = stream::try_unfold(listing, |mut listing| async move {
        let piece =
            listing.piece().await.inspect_err(|error| log::error!("an answer is broken off: {error}"))?;
        Ok::<_, DlqReadError>(piece.map(|piece| (piece, listing)))
    });
    let whole = stream::once(std::future::ready(Ok(first))).chain(others);
    let mut response = warp::reply::stream(SyncStream::new(whole)).into_response();
    let headers = response.headers_mut();
    let content_type = if lines { NDJSON } else { JSON };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// The answer to `POST /dead-letters/redrive`.
pub(super) async fn redrive(admin: Arc<DlqAdmin>, body: Result<Bytes, Problem>) -> Response {
    let max_depth = admin.limits.max_depth;
    let read = body.and_then(|body| request::selection(json_text(&body, max_depth)?));
    let selection = match read {
        Ok(selection) => selection,
        Err(problem) => return problem.into_response(),
    };
    let until = Instant::now() + admin.redrive_for;
    // A task of its own: a client that goes away does not interrupt it between sending and committing.
    let work = tokio::spawn(async move { admin.redriver.redrive(&selection, until).await });
    let problem = match work.await {
        Ok(Ok(report)) => match serde_json::to_vec(&report) {
            Ok(body) => {
                let mut response = Response::new(body.into());
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
                return response;
            }
            Err(error) => internal(&error),
        },
        Ok(Err(error)) => not_begun(&error),
        Err(error) => internal(&error),
    };
    problem.into_response()
}

/// 409 where another redrive is at work, 503 where Kafka does not answer.
pub(super) fn not_begun(error: &RedriveError) -> Problem {
    match error {
        RedriveError::Busy => Problem::new(StatusCode::CONFLICT, error.to_string())
            .with_header(header::RETRY_AFTER, HeaderValue::from(5)),
        _ => Problem::unavailable(error.to_string(), 5),
    }
}

/// 503: the dead letters cannot be read now.
pub(super) fn unreadable(error: &DlqReadError) -> Problem {
    Problem::unavailable(error.to_string(), 1)
}

fn internal(error: &dyn std::fmt::Display) -> Problem {
    log::error!("a redrive ended badly: {error}");
    Problem::internal()
}
