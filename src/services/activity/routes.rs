//! The filter tree: which request goes where.

use std::{convert::Infallible, fmt, sync::Arc};

use tokio::sync::watch;
use warp::{
    Filter, Rejection, Reply,
    filters::{BoxedFilter, path::FullPath},
    http::Method,
    path,
    reply::Response,
};

use super::{
    Config, Conflicts,
    answers::{
        event, group, health,
        listing::{self, Asked, Form},
        metrics::{self, Metrics},
        published,
    },
    cursor::Run,
    paths,
    selection::Scope,
};
use crate::{
    http::{self, BodyLimits, Problem, header, json_body, segment},
    messaging::{Publisher, Status},
    services::dead_letters::{self, Desk},
    store::EventStore,
};

/// What the routes answer from.
pub struct Api {
    /// Where posted events go.
    pub publisher: Arc<dyn Publisher>,
    /// Where processed events are.
    pub store: Arc<dyn EventStore>,
    /// What came with the id of another event, and other content.
    pub conflicts: Arc<Conflicts>,
    /// What is known of Kafka and the group.
    pub status: watch::Receiver<Status>,
    /// The service's settings.
    pub config: Config,
    /// What a posted body may cost.
    pub limits: BodyLimits,
    /// Whether Kafka is the one inside this process.
    pub embedded: bool,
    /// This run of the process, for cursors.
    pub run: Run,
    /// What is counted.
    pub metrics: Metrics,
    /// Where dead letters are seen to, should that be on.
    pub dead_letters: Option<Arc<Desk>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}

/// All routes of the service. Every request gets an answer: what no route takes gets 404 or 405.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    // A tree is cloned for each request. The busiest route stands before the box and is tried first; all
    // the others are in the box, so that a clone is a single count more.
    generate(&api).or(others(&api)).recover(unrouted)
}

fn generate(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static + use<> {
    path!("events" / "generate")
        .and(warp::post())
        .and(with(api))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, body| async move { published::generate(&api, body).await })
}

fn others(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let create = path!("api" / "events")
        .and(warp::post())
        .and(with(api))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, body| async move { published::create(&api, body).await });

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
    let health = path!("health").and(reads()).and(with(api)).map(|api: Arc<Api>| health::health(&api));
    let ready = path!("ready").and(reads()).and(with(api)).map(|api: Arc<Api>| health::ready(&api));
    let group = path!("group").and(reads()).and(with(api)).map(|api: Arc<Api>| group::group(&api));
    let metrics = path!("metrics").and(reads()).and(with(api)).map(|api: Arc<Api>| metrics::metrics(&api));

    let has_desk = api.dead_letters.is_some();
    let unknown = warp::path::full().and(warp::method()).map(move |path: FullPath, method: Method| {
        http::refuse(&method, path.as_str(), paths::methods(path.as_str(), has_desk))
    });

    let own = create
        .or(processed)
        .unify()
        .or(event)
        .unify()
        .or(all)
        .unify()
        .or(of_user)
        .unify()
        .or(of_type)
        .unify()
        .or(health)
        .unify()
        .or(ready)
        .unify()
        .or(group)
        .unify()
        .or(metrics)
        .unify()
        .boxed();
    let all = match &api.dead_letters {
        Some(desk) => own.or(dead_letters::routes(Arc::clone(desk))).unify().boxed(),
        None => own,
    };
    all.or(unknown).unify().boxed()
}

fn with(api: &Arc<Api>) -> impl Filter<Extract = (Arc<Api>,), Error = Infallible> + Clone + use<> {
    let api = Arc::clone(api);
    warp::any().map(move || Arc::clone(&api))
}

/// GET, and HEAD, to which hyper sends the head of the same answer.
fn reads() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::get().or(warp::head()).unify()
}

fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
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

/// A rejection that the tree's last branch did not answer. None is known to come this far.
async fn unrouted(rejection: Rejection) -> Result<Response, Infallible> {
    log::error!("a request was rejected by no route of ours: {rejection:?}");
    Ok(Problem::internal().into_response())
}
