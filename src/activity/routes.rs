//! The filter tree of the service.

use std::{convert::Infallible, sync::Arc};

use highwater_web::{
    auth::{Grant, grant},
    dead_letters,
    http::{self, Problem, Route, header, json_body, many_body, query, reads, segment, with},
    operations,
};
use warp::{Filter, Rejection, Reply, filters::path::FullPath, path, reply::Response};

use super::{
    Api,
    answers::{
        event,
        listing::{self, ListingFormat, ListingRequest},
        published,
    },
    batch,
    openapi::DOCUMENT,
    paths::{PATHS, WITHOUT_DEAD_LETTERS},
    selection::Scope,
};

/// All routes of the service. A request that matches no route gets 404 or 405.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    // warp clones the tree for each request. The busiest route is tried first; all others are in one box, so that they
    // add one reference count to a clone.
    generate(&api).or(others(&api)).recover(http::unrouted)
}

fn generate(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static + use<> {
    path!("events" / "generate")
        .and(warp::post())
        .and(with(api))
        .and(grant())
        .and(header("x-correlation-id"))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, grant: Grant, correlation, body| async move {
            published::generate(&api, &grant, (correlation, body)).await
        })
}

fn others(api: &Arc<Api>) -> Route {
    let create = path!("api" / "events")
        .and(warp::post())
        .and(with(api))
        .and(grant())
        .and(header("x-correlation-id"))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, grant: Grant, correlation, body| async move {
            published::create(&api, &grant, (correlation, body)).await
        });

    let batch = path!("events" / "batch")
        .and(warp::post())
        .and(with(api))
        .and(grant())
        .and(query())
        .and(header("x-correlation-id"))
        .and(many_body(api.limits, api.config.batch.max_bytes))
        .then(|api: Arc<Api>, grant: Grant, query, correlation, body| {
            batch::batch(api, grant, (query, correlation, body))
        });
    let processed = path!("events" / "processed")
        .and(listing_parts())
        .and(with(api))
        .then(|parts, api| list(api, Ok(Scope::All), ListingFormat::Array, parts));
    let event =
        path!("events" / "processed" / String).and(reads()).and(query()).and(grant()).and(with(api)).then(
            |id: String, query: String, grant: Grant, api: Arc<Api>| async move {
                event::find(&api, &grant, &id, &query).await
            },
        );
    let all = path!("api" / "events")
        .and(listing_parts())
        .and(with(api))
        .then(|parts, api| list(api, Ok(Scope::All), ListingFormat::Envelope, parts));
    let of_user = path!("api" / "events" / "user" / String).and(listing_parts()).and(with(api)).then(
        |user_id: String, parts, api| {
            list(api, segment("userId", &user_id).map(Scope::User), ListingFormat::Envelope, parts)
        },
    );
    let of_type = path!("api" / "events" / "type" / String).and(listing_parts()).and(with(api)).then(
        |event_type: String, parts, api| {
            list(api, segment("eventType", &event_type).map(Scope::Type), ListingFormat::Envelope, parts)
        },
    );
    let (admin, paths) = match &api.dead_letters {
        Some(admin) => (dead_letters::routes(Arc::clone(admin)), &PATHS),
        None => (http::first_of([]), &WITHOUT_DEAD_LETTERS),
    };
    http::first_of([
        create.boxed(),
        batch.boxed(),
        processed.boxed(),
        event.boxed(),
        all.boxed(),
        of_user.boxed(),
        of_type.boxed(),
        operations::routes(&api.operations),
        http::openapi::routes(&DOCUMENT),
        admin,
        http::unknown(paths),
    ])
}

/// The full path, the query string and `Accept` of a listing, and what its client may see.
type ListingParts = (FullPath, String, Option<warp::http::HeaderValue>, Grant);

fn listing_parts() -> impl Filter<Extract = (ListingParts,), Error = Rejection> + Copy {
    reads()
        .and(warp::path::full())
        .and(query())
        .and(header("accept"))
        .and(grant())
        .map(|path, query, accept, grant| (path, query, accept, grant))
}

async fn list(
    api: Arc<Api>,
    scope: Result<Scope, Problem>,
    format: ListingFormat,
    (path, query, accept, grant): ListingParts,
) -> Response {
    match scope {
        Ok(scope) => {
            let path = path.as_str().to_owned();
            listing::list(&api, ListingRequest { scope, format, path, query, accept, grant }).await
        }
        Err(problem) => problem.into_response(),
    }
}
