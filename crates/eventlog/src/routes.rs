//! The filter tree of the event log.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use highwater_web::{
    auth::{Grant, Need, grant},
    http::{
        self, BodyLimits, CorrelationId, FieldError, Paths, Problem, answer, correlation, encode_segment,
        json_body, query, reads, segment, with,
    },
    idempotency::{self, Idempotency},
    identity::uuid,
    operations::{self, Operations},
};
use warp::{
    Filter, Reply,
    filters::path::FullPath,
    http::{HeaderValue, StatusCode, header},
    path,
    reply::Response,
};

use super::{
    EventLog, ListingQuery, NewLoggedEvent, answer::RecordedBody, listing, openapi::DOCUMENT, query,
};

/// Each path, its methods, and its need.
pub static PATHS: Paths = Paths(&[
    &[
        ("/events", "POST, OPTIONS", Need::OwnEvents),
        ("/events/{userId}", "GET, HEAD, OPTIONS", Need::OwnEvents),
        ("/events/{userId}/{eventId}", "GET, HEAD, OPTIONS", Need::OwnEvents),
    ],
    operations::PATHS,
]);

/// The longest wait of `/health` and `/ready` for the databases.
const PROBE: Duration = Duration::from_secs(2);

/// The state that the routes answer from.
#[derive(Debug)]
pub struct Api {
    /// The events.
    pub log: Arc<EventLog>,
    /// The limits of a body.
    pub limits: BodyLimits,
    /// The sources of the service's status.
    pub operations: Arc<Operations>,
}

type Body = Result<Bytes, Problem>;

/// All routes of the service. Every request gets an answer: 404 or 405 where no route takes it.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let record =
        path!("events")
            .and(warp::post())
            .and(with(&api))
            .and(correlation())
            .and(idempotency::header())
            .and(grant())
            .and(json_body(api.limits))
            .then(
                |api: Arc<Api>,
                 correlation: CorrelationId,
                 key: Vec<HeaderValue>,
                 grant: Grant,
                 body: Body| async move {
                    let recorded = record(&api, &grant, &key, body).await;
                    correlation.on(recorded.unwrap_or_else(Reply::into_response))
                },
            );
    let list = path!("events" / String)
        .and(reads())
        .and(with(&api))
        .and(grant())
        .and(warp::path::full())
        .and(query())
        .then(|user: String, api: Arc<Api>, grant: Grant, path: FullPath, query: String| async move {
            list(&api, &grant, &user, path.as_str(), &query).await.unwrap_or_else(Reply::into_response)
        });
    let find = path!("events" / String / String).and(reads()).and(with(&api)).and(grant()).then(
        |user: String, event: String, api: Arc<Api>, grant: Grant| async move {
            find(&api, &grant, &user, &event).await.unwrap_or_else(Reply::into_response)
        },
    );
    http::first_of([
        record.boxed(),
        list.boxed(),
        find.boxed(),
        probed(&api).and(operations::routes(&api.operations)).boxed(),
        http::openapi::routes(&DOCUMENT),
        http::unknown(&PATHS),
    ])
    .recover(http::unrouted)
    .unify()
}

/// Asks the databases for their health before `/health` and `/ready` report it.
fn probed(api: &Arc<Api>) -> impl Filter<Extract = (), Error = Infallible> + Clone + use<> {
    let asked = |path: FullPath, api: Arc<Api>| async move {
        if matches!(
            path.as_str(),
            "/health" | "/health/" | "/ready" | "/ready/" | "/ready/read" | "/ready/read/"
        ) {
            api.log.probe(PROBE).await;
        }
    };
    warp::path::full().and(with(api)).then(asked).untuple_one()
}

async fn record(api: &Api, grant: &Grant, key: &[HeaderValue], body: Body) -> Result<Response, Problem> {
    let new = NewLoggedEvent::read(&body?, api.limits.max_depth)?;
    // The event keeps the request of the key, so the key needs nothing of it here.
    let key = Idempotency::read(key, &())?;
    grant.check_write(&new.user_id)?;
    grant.charge_event(&new.user_id)?;
    let event = api.log.record(new, key).await?.metadata;
    let mut response = answer(StatusCode::CREATED, &RecordedBody { event_id: event.event_id });
    let location = format!("/events/{}/{}", encode_segment(&event.user_id), event.event_id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn list(api: &Api, grant: &Grant, user: &str, path: &str, query: &str) -> Result<Response, Problem> {
    let query = ListingQuery::read(user, query)?;
    grant.check_read(&query.user_id)?;
    grant.charge_request(&query.user_id)?;
    let listing = api.log.list(&query).await?;
    let link = listing.next.and_then(|next| query.link(path, next));
    let mut response = http::json(listing.body);
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

async fn find(api: &Api, grant: &Grant, user: &str, event: &str) -> Result<Response, Problem> {
    let user = query::user_id(user)?;
    grant.check_read(&user)?;
    grant.charge_request(&user)?;
    let fault = |message| Problem::invalid(vec![FieldError::new("eventId", message)]);
    let event = uuid(&segment("eventId", event)?).map_err(fault)?;
    let found = api.log.find(&user, event).await?;
    found.map(http::json).ok_or_else(|| listing::unknown(&user, event))
}
