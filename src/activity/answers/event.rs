//! `GET /events/processed/{eventId}`: one event by its id.

use bytes::Bytes;
use highwater_web::{
    auth::{Grant, Reads},
    http::{self, Problem, json},
    resource,
};
use uuid::Uuid;
use warp::{Reply, http::StatusCode, reply::Response};

use crate::activity::{Api, Coverage, coverage::PARTITIONS, selection};

/// The event, or 404 while it is not processed. With `wait`, the answer comes as soon as the event is processed, at the
/// latest when that time is over or the service stops.
pub(in crate::activity) async fn find(api: &Api, grant: &Grant, id: &str, query: &str) -> Response {
    answer(api, grant, id, query).await.unwrap_or_else(Reply::into_response)
}

async fn answer(api: &Api, grant: &Grant, id: &str, query: &str) -> Result<Response, Problem> {
    let id = resource::id("eventId", id)?;
    let wait = selection::wait(query)?;
    let before = api.coverage();
    let found = if wait.is_zero() {
        api.store.get(id).await
    } else {
        http::extend_deadline(wait);
        tokio::select! {
            found = api.store.wait_for(id, wait) => found,
            // A stopping service processes nothing more.
            () = api.shutdown.requested() => api.store.get(id).await,
        }
    };
    match found {
        // Such a client is not told that another user's event is there.
        Ok(Some(event)) if matches!(grant.reads(), Reads::Own(user) if *user != *event.user_id()) => {
            Err(not_found(id, &before.until(&api.coverage())))
        }
        Ok(Some(event)) => Ok(json(Bytes::copy_from_slice(event.json()))),
        Ok(None) => Err(not_found(id, &before.until(&api.coverage()))),
        Err(error) => Err(super::store_unavailable(&error)),
    }
}

/// 404, with the partitions that were searched.
pub(in crate::activity) fn not_found(id: Uuid, coverage: &Coverage) -> Problem {
    let detail = format!(
        "no event {id} is here: it is not processed yet, is another instance's, was dropped, or never was"
    );
    Problem::new(StatusCode::NOT_FOUND, detail).with_header(PARTITIONS, coverage.value())
}
