//! The filter tree of the service.

use std::{convert::Infallible, future::ready, sync::Arc};

use highwater_web::{
    auth::{Grant, grant},
    dead_letters,
    http::{
        self, AdminAuth, BodyLimits, Problem, Route, any_body, caller, header, json_body, many_body, query,
        reads, segment, with,
    },
    operations,
};
use warp::{
    Filter, Rejection, Reply,
    filters::path::FullPath,
    http::{HeaderMap, HeaderValue},
    path,
    reply::Response,
};

use super::{
    Api,
    answers::{
        erasure, event,
        listing::{self, ListingFormat, ListingRequest},
        published,
    },
    batch,
    console::CONSOLE,
    event_stream,
    formats::{cloud_event, segment},
    openapi::DOCUMENT,
    paths::{PATHS, WITHOUT_ADMINS},
    selection::ListingScope,
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
        .and(without_cloud_event())
        .and(with(api))
        .and(grant())
        .and(header("x-correlation-id"))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, grant: Grant, correlation, body| async move {
            published::generate(&api, &grant, (correlation, body)).await
        })
}

/// A request whose head says of no CloudEvent.
fn without_cloud_event() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    header("content-type")
        .and(header(cloud_event::VERSION_HEADER))
        .and_then(|content_type: Option<HeaderValue>, version: Option<HeaderValue>| {
            ready(match cloud_event::Mode::of(content_type.as_ref(), version.as_ref()) {
                None => Ok(()),
                Some(_) => Err(warp::reject::not_found()),
            })
        })
        .untuple_one()
}

fn others(api: &Arc<Api>) -> Route {
    let cloud_event = path!("events" / "generate")
        .and(warp::post())
        .and(with(api))
        .and(grant())
        .and(header("x-correlation-id"))
        .and(warp::header::headers_cloned())
        .and(any_body(api.limits))
        .then(|api: Arc<Api>, grant: Grant, correlation, headers: HeaderMap, body| async move {
            published::generate_from_cloud_event(&api, &grant, &headers, (correlation, body)).await
        });
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
        .and(warp::header::headers_cloned())
        .and(many_body(api.limits, api.config.batch.max_bytes))
        .then(|api: Arc<Api>, grant: Grant, query, headers, body| {
            batch::batch(api, grant, (query, headers, body))
        });
    let segment_call = path!("v1" / String)
        .and(warp::post())
        .and(with(api))
        .and(grant())
        .and(header("x-correlation-id"))
        .and(any_body(BodyLimits { max_bytes: segment::MAX_BATCH_BYTES, ..api.limits }))
        .then(|call: String, api: Arc<Api>, grant: Grant, correlation, body| async move {
            segment::take(api, grant, &call, (correlation, body)).await
        });
    let stream = path!("events" / "stream")
        .and(reads())
        .and(with(api))
        .and(grant())
        .and(query())
        .and(header("last-event-id"))
        .then(event_stream::open);
    let processed = path!("events" / "processed")
        .and(listing_parts())
        .and(with(api))
        .then(|parts, api| list(api, Ok(ListingScope::All), ListingFormat::Array, parts));
    let event =
        path!("events" / "processed" / String).and(reads()).and(query()).and(grant()).and(with(api)).then(
            |id: String, query: String, grant: Grant, api: Arc<Api>| async move {
                event::find(&api, &grant, &id, &query).await
            },
        );
    let all = path!("api" / "events")
        .and(listing_parts())
        .and(with(api))
        .then(|parts, api| list(api, Ok(ListingScope::All), ListingFormat::Envelope, parts));
    let of_user = path!("api" / "events" / "user" / String).and(listing_parts()).and(with(api)).then(
        |user_id: String, parts, api| {
            list(api, segment("userId", &user_id).map(ListingScope::User), ListingFormat::Envelope, parts)
        },
    );
    let of_type = path!("api" / "events" / "type" / String).and(listing_parts()).and(with(api)).then(
        |event_type: String, parts, api| {
            list(
                api,
                segment("eventType", &event_type).map(ListingScope::Type),
                ListingFormat::Envelope,
                parts,
            )
        },
    );
    let dead_letters = match &api.dead_letters {
        Some(admin) => dead_letters::routes(Arc::clone(admin)),
        None => http::first_of([]),
    };
    let (of_admins, paths) = match &api.operations.admin_auth {
        Some(admin_auth) => (of_admins(api, admin_auth), &PATHS),
        None => (http::first_of([]), &WITHOUT_ADMINS),
    };
    http::first_of([
        cloud_event.boxed(),
        create.boxed(),
        batch.boxed(),
        segment_call.boxed(),
        stream.boxed(),
        processed.boxed(),
        event.boxed(),
        all.boxed(),
        of_user.boxed(),
        of_type.boxed(),
        of_admins,
        operations::routes(&api.operations),
        http::openapi::routes(&DOCUMENT),
        CONSOLE.route(),
        dead_letters,
        http::unknown(paths),
    ])
}

/// The routes for admins: they erase a user's events, report the progress of that, and list refused events.
fn of_admins(api: &Arc<Api>, admin_auth: &Arc<AdminAuth>) -> Route {
    let erase = path!("api" / "events" / "user" / String)
        .and(warp::delete())
        .and(admitted(admin_auth, "erasing a user's events"))
        .and(with(api))
        .then(|user_id: String, admitted: Result<(), Problem>, api: Arc<Api>| async move {
            match admitted.and_then(|()| segment("userId", &user_id)) {
                Ok(user_id) => erasure::erase(&api, &user_id).await,
                Err(problem) => problem.into_response(),
            }
        });
    let state = path!("api" / "events" / "erasures" / String)
        .and(reads())
        .and(admitted(admin_auth, "asking for an erasure"))
        .and(with(api))
        .then(|id: String, admitted: Result<(), Problem>, api: Arc<Api>| async move {
            match admitted {
                Ok(()) => erasure::state(&api, &id).await,
                Err(problem) => problem.into_response(),
            }
        });
    let rejections = path!("rejections")
        .and(reads())
        .and(admitted(admin_auth, "listing what was refused"))
        .and(query())
        .and(with(api))
        .then(|admitted: Result<(), Problem>, query: String, api: Arc<Api>| async move {
            match admitted {
                Ok(()) => api.rejections.answer(&query),
                Err(problem) => problem.into_response(),
            }
        });
    http::first_of([erase.boxed(), state.boxed(), rejections.boxed()])
}

/// Whether the client is an admin.
fn admitted(
    admin_auth: &Arc<AdminAuth>,
    action: &'static str,
) -> impl Filter<Extract = (Result<(), Problem>,), Error = Infallible> + Clone + use<> {
    with(admin_auth).and(header("authorization")).and(caller()).and(grant()).then(
        move |admin_auth: Arc<AdminAuth>, authorization: Option<HeaderValue>, caller, grant: Grant| async move {
            admin_auth.admit(&grant, authorization.as_ref(), caller, action).await
        },
    )
}

/// The full path, the query string and `Accept` of a listing, and the grant of its client.
type ListingParts = (FullPath, String, Option<HeaderValue>, Grant);

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
    scope: Result<ListingScope, Problem>,
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
