//! The filter tree: which request goes where.

use std::{convert::Infallible, sync::Arc};

use highwater_web::{
    dead_letters,
    http::{self, Problem, Route, header, json_body, query, reads, segment, with},
    operations,
};
use warp::{Filter, Rejection, Reply, filters::path::FullPath, path, reply::Response};

use super::{
    Api,
    answers::{
        event,
        listing::{self, Asked, Form},
        published,
    },
    openapi::DOCUMENT,
    paths::{PATHS, WITHOUT_DESK},
    selection::Scope,
};

/// All routes of the service. Every request gets an answer: what no route takes gets 404 or 405.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    // A tree is cloned for each request. The busiest route stands before the box and is tried first; all
    // the others are in the box, so that a clone is a single count more.
    generate(&api).or(others(&api)).recover(http::unrouted)
}

fn generate(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static + use<> {
    path!("events" / "generate")
        .and(warp::post())
        .and(with(api))
        .and(header("x-correlation-id"))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, correlation, body| async move {
            published::generate(&api, (correlation, body)).await
        })
}

fn others(api: &Arc<Api>) -> Route {
    let create = path!("api" / "events")
        .and(warp::post())
        .and(with(api))
        .and(header("x-correlation-id"))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, correlation, body| async move {
            published::create(&api, (correlation, body)).await
        });

    let processed = path!("events" / "processed")
        .and(asks())
        .and(with(api))
        .then(|asks, api| list(api, Ok(Scope::All), Form::Array, asks));
    let event =
        path!("events" / "processed" / String).and(reads()).and(query()).and(with(api)).then(
            |id: String, query: String, api: Arc<Api>| async move { event::find(&api, &id, &query).await },
        );
    let all = path!("api" / "events")
        .and(asks())
        .and(with(api))
        .then(|asks, api| list(api, Ok(Scope::All), Form::Envelope, asks));
    let of_user = path!("api" / "events" / "user" / String).and(asks()).and(with(api)).then(
        |user_id: String, asks, api| {
            list(api, segment("userId", &user_id).map(Scope::User), Form::Envelope, asks)
        },
    );
    let of_type = path!("api" / "events" / "type" / String).and(asks()).and(with(api)).then(
        |event_type: String, asks, api| {
            list(api, segment("eventType", &event_type).map(Scope::Type), Form::Envelope, asks)
        },
    );
    let (admin, paths) = match &api.dead_letters {
        Some(admin) => (dead_letters::routes(Arc::clone(admin)), &PATHS),
        None => (http::first_of([]), &WITHOUT_DESK),
    };
    http::first_of([
        create.boxed(),
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

/// What a request for a listing says beside its path's values.
type Asks = (FullPath, String, Option<warp::http::HeaderValue>);

fn asks() -> impl Filter<Extract = (Asks,), Error = Rejection> + Copy {
    reads()
        .and(warp::path::full())
        .and(query())
        .and(header("accept"))
        .map(|path, query, accept| (path, query, accept))
}

async fn list(
    api: Arc<Api>,
    scope: Result<Scope, Problem>,
    form: Form,
    (path, query, accept): Asks,
) -> Response {
    match scope {
        Ok(scope) => {
            let path = path.as_str().to_owned();
            listing::list(&api, Asked { scope, form, path, query, accept }).await
        }
        Err(problem) => problem.into_response(),
    }
}
