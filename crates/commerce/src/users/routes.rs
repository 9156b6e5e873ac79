//! The filter tree of the user service.

use std::{convert::Infallible, num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use highwater_table::EventSourcedTable;
use highwater_web::{
    auth::{Grant, Need, grant},
    http::{
        self, BodyLimits, CorrelationId, Parameters, Paths, Problem, correlation, json_body, query, reads,
        with,
    },
    idempotency::{self, Idempotency},
    operations::{self, Operations},
    page::PageRequest,
    resource,
};
use uuid::Uuid;
use warp::{
    Filter, Reply,
    filters::path::FullPath,
    http::{HeaderValue, StatusCode},
    path,
    reply::Response,
};

use super::{
    Users,
    answer::{UserBody, UsersBody},
    email::normal_form,
    openapi::DOCUMENT,
    register,
    request::{NewUser, UserChange},
};
use crate::state::{MemoryLimit, complete};

/// Each path, its methods, and its need.
pub static PATHS: Paths = Paths(&[
    &[
        ("/users", "GET, HEAD, POST, OPTIONS", Need::Events),
        ("/users/{userId}", "GET, HEAD, PATCH, DELETE, OPTIONS", Need::OwnEvents),
    ],
    operations::PATHS,
]);

/// The state that the routes answer from.
#[derive(Debug)]
pub struct Api {
    /// The users.
    pub users: Arc<EventSourcedTable<Users>>,
    /// The limit of their memory.
    pub memory: MemoryLimit,
    /// The limits of a body.
    pub limits: BodyLimits,
    /// The sources of the service's status.
    pub operations: Arc<Operations>,
}

/// All routes of the service. Every request gets an answer: 404 or 405 where no route takes it.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let create = path!("users")
        .and(warp::post())
        .and(with(&api))
        .and(correlation())
        .and(idempotency::header())
        .and(grant())
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, correlation: CorrelationId, key, grant: Grant, body| async move {
            let created = create(&api, &grant, &correlation, key, body).await;
            correlation.on(created.into_response())
        });
    let list = path!("users").and(reads()).and(with(&api)).and(warp::path::full()).and(query()).map(
        |api: Arc<Api>, path: FullPath, query: String| list(&api, path.as_str(), &query).into_response(),
    );
    let find = path!("users" / String)
        .and(reads())
        .and(with(&api))
        .and(grant())
        .map(|id: String, api: Arc<Api>, grant: Grant| find(&api, &grant, &id).into_response());
    let rename = path!("users" / String)
        .and(warp::patch())
        .and(with(&api))
        .and(correlation())
        .and(http::header("if-match"))
        .and(grant())
        .and(json_body(api.limits))
        .then(
            |id: String, api: Arc<Api>, correlation: CorrelationId, if_match, grant: Grant, body| async move {
                let renamed = rename(&api, (&grant, &id), &correlation, if_match, body).await;
                correlation.on(renamed.into_response())
            },
        );
    let delete = path!("users" / String)
        .and(warp::delete())
        .and(with(&api))
        .and(correlation())
        .and(http::header("if-match"))
        .and(grant())
        .then(|id: String, api: Arc<Api>, correlation: CorrelationId, if_match, grant: Grant| async move {
            let deleted = delete(&api, (&grant, &id), &correlation, if_match).await;
            correlation.on(deleted.into_response())
        });
    http::first_of([
        create.boxed(),
        list.boxed(),
        find.boxed(),
        rename.boxed(),
        delete.boxed(),
        operations::routes(&api.operations),
        http::openapi::routes(&DOCUMENT),
        http::unknown(&PATHS),
    ])
    .recover(http::unrouted)
}

async fn create(
    api: &Api,
    grant: &Grant,
    correlation: &CorrelationId,
    key: Vec<HeaderValue>,
    body: Result<Bytes, Problem>,
) -> Result<Response, Problem> {
    let new = NewUser::read(&body?, api.limits.max_depth)?;
    let idempotency = Idempotency::read(&key, &new)?;
    grant.charge_events([], NonZeroU32::MIN)?;
    let user = register::register(&api.users, &api.memory, &new, idempotency, correlation).await?;
    Ok(resource::created(&format!("/users/{}", user.user_id), &user, user.version))
}

fn find(api: &Api, grant: &Grant, id: &str) -> Result<Response, Problem> {
    let id = resource::id("userId", id)?;
    grant.check_read(&id.to_string())?;
    grant.charge_request(&id.to_string())?;
    let found = complete(&api.users)?.read(|users| users.get(id).map(UserBody::from));
    let user = found.ok_or_else(|| register::unknown(id))?;
    Ok(resource::current(&user, user.version))
}

fn list(api: &Api, path: &str, query: &str) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query);
    // It is not read as a text, since a plus is part of an address.
    let email = parameters.parsed("email", |text| Ok::<_, &str>(normal_form(text)));
    let page = PageRequest::read(&mut parameters);
    parameters.finish()?;
    let users = complete(&api.users)?;
    let (users, next) = users.read(|users| match &email {
        Some(email) => (users.with_email(email).map(UserBody::from).into_iter().collect(), None),
        None => page
            .take(users.after(page.after).map(|(place, user)| (place, UserBody::from(user))), |user| {
                size_of::<UserBody>() + user.email.len() + user.name.len()
            }),
    });
    let body = UsersBody { count: users.len(), users, next };
    Ok(page.answer(path, &[], &body, body.next.as_deref()))
}

/// The user that a request is to change, if its client may.
fn changed(grant: &Grant, id: &str) -> Result<Uuid, Problem> {
    let id = resource::id("userId", id)?;
    grant.check_write(&id.to_string())?;
    grant.charge_event(&id.to_string())?;
    Ok(id)
}

async fn rename(
    api: &Api,
    (grant, id): (&Grant, &str),
    correlation: &CorrelationId,
    if_match: Option<HeaderValue>,
    body: Result<Bytes, Problem>,
) -> Result<Response, Problem> {
    resource::id("userId", id)?;
    let change = UserChange::read(&body?, api.limits.max_depth)?;
    let id = changed(grant, id)?;
    let user = register::rename(&api.users, id, &change, if_match.as_ref(), correlation).await?;
    Ok(resource::current(&user, user.version))
}

async fn delete(
    api: &Api,
    (grant, id): (&Grant, &str),
    correlation: &CorrelationId,
    if_match: Option<HeaderValue>,
) -> Result<Response, Problem> {
    register::delete(&api.users, changed(grant, id)?, if_match.as_ref(), correlation).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
