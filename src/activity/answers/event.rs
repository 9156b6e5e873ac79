//! One event by its id.

use bytes::Bytes;
use highwater_web::{
    http::{self, Problem, json},
    resource,
};
use uuid::Uuid;
use warp::{Reply, http::StatusCode, reply::Response};

use super::super::{Api, Coverage, coverage::PARTITIONS, selection};

/// `GET /events/processed/{eventId}`: the event, or 404 while it is not processed; with `wait` the answer
/// comes as soon as it is, or when that time is over or the service stops.
pub(in super::super) async fn find(api: &Api, id: &str, query: &str) -> Response {
    answer(api, id, query).await.unwrap_or_else(Reply::into_response)
}

async fn answer(api: &Api, id: &str, query: &str) -> Result<Response, Problem> {
    let id = resource::id("eventId", id)?;
    let wait = selection::wait(query)?;
    let before = api.coverage();
    let found = if wait.is_zero() {
        api.store.get(id).await
    } else {
        http::extend_deadline(wait);
        tokio::select! {
            found = api.store.wait_for(id, wait) => found,
            // Nothing is processed here any more.
            () = api.shutdown.requested() => api.store.get(id).await,
        }
    };
    match found {
        Ok(Some(event)) => Ok(json(Bytes::copy_from_slice(event.json()))),
        Ok(None) => Err(unknown(id, &before.until(&api.coverage()))),
        Err(error) => Err(super::store_is_away(&error)),
    }
}

/// 404, with the partitions in which it is not.
pub(in super::super) fn unknown(id: Uuid, coverage: &Coverage) -> Problem {
    let detail = format!(
        "no event {id} is here: it is not processed yet, is another instance's, was dropped, or never was"
    );
    Problem::new(StatusCode::NOT_FOUND, detail).with_header(PARTITIONS, coverage.value())
}
