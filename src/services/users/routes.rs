//! The filter tree of the user service.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;
use warp::{
    Filter, Reply,
    filters::path::FullPath,
    http::{HeaderValue, StatusCode, header},
    path,
    reply::Response,
};

use super::{
    Users,
    answer::{UserBody, UsersBody},
    email::normal_form,
    register,
    request::{NewUser, UserChange},
};
use crate::{
    http::{
        self, BodyLimits, Correlation, FieldError, Parameters, Paths, Problem, answer, correlation,
        json_body, query, reads, segment, with, with_etag,
    },
    messaging::ledger::Ledger,
    services::{
        fields::uuid,
        idempotency::{self, Idempotency},
        operations::{self, Operations},
        page::Page,
        state::complete,
    },
};

/// Each path, and its methods.
pub static PATHS: Paths = Paths(&[
    ("/users", "GET, HEAD, POST, OPTIONS"),
    ("/users/{userId}", "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ("/health", "GET, HEAD, OPTIONS"),
    ("/ready", "GET, HEAD, OPTIONS"),
    ("/metrics", "GET, HEAD, OPTIONS"),
]);

/// What the routes answer from.
#[derive(Debug)]
pub struct Api {
    /// The users.
    pub users: Arc<Ledger<Users>>,
    /// What a posted body may cost.
    pub limits: BodyLimits,
    /// How the service is.
    pub operations: Arc<Operations>,
}

type Body = Result<Bytes, Problem>;
type Header = Option<HeaderValue>;

/// All routes of the service. Every request gets an answer: what no route takes gets 404 or 405.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let create = path!("users")
        .and(warp::post())
        .and(with(&api))
        .and(correlation())
        .and(http::header(idempotency::HEADER))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, correlation: Correlation, key: Header, body: Body| async move {
            let created = create(&api, &correlation, key.as_ref(), body).await;
            correlation.on(created.unwrap_or_else(Reply::into_response))
        });
    let list = path!("users").and(reads()).and(with(&api)).and(warp::path::full()).and(query()).map(
        |api: Arc<Api>, path: FullPath, query: String| {
            list(&api, path.as_str(), &query).unwrap_or_else(Reply::into_response)
        },
    );
    let find = path!("users" / String)
        .and(reads())
        .and(with(&api))
        .map(|id: String, api: Arc<Api>| find(&api, &id).unwrap_or_else(Reply::into_response));
    let rename = path!("users" / String)
        .and(warp::patch())
        .and(with(&api))
        .and(correlation())
        .and(http::header("if-match"))
        .and(json_body(api.limits))
        .then(
            |id: String, api: Arc<Api>, correlation: Correlation, if_match: Header, body: Body| async move {
                let renamed = rename(&api, &id, &correlation, if_match.as_ref(), body).await;
                correlation.on(renamed.unwrap_or_else(Reply::into_response))
            },
        );
    let delete = path!("users" / String)
        .and(warp::delete())
        .and(with(&api))
        .and(correlation())
        .and(http::header("if-match"))
        .then(|id: String, api: Arc<Api>, correlation: Correlation, if_match: Header| async move {
            let deleted = delete(&api, &id, &correlation, if_match.as_ref()).await;
            correlation.on(deleted.unwrap_or_else(Reply::into_response))
        });
    create
        .or(list)
        .unify()
        .or(find)
        .unify()
        .or(rename)
        .unify()
        .or(delete)
        .unify()
        .or(operations::routes(&api.operations))
        .unify()
        .or(http::unknown(&PATHS))
        .unify()
        .boxed()
        .recover(http::unrouted)
}

async fn create(
    api: &Api,
    correlation: &Correlation,
    key: Option<&HeaderValue>,
    body: Body,
) -> Result<Response, Problem> {
    let new = NewUser::read(&body?, api.limits.max_depth)?;
    let idempotency = Idempotency::read(key, &new)?;
    let user = register::register(&api.users, &new, idempotency, correlation).await?;
    let mut response = answer(StatusCode::CREATED, &user);
    if let Ok(location) = HeaderValue::try_from(format!("/users/{}", user.user_id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(with_etag(response, user.version))
}

fn find(api: &Api, id: &str) -> Result<Response, Problem> {
    let id = user_id(id)?;
    let found = complete(&api.users)?.read(|users| users.get(id).map(UserBody::from));
    let user = found.ok_or_else(|| register::unknown(id))?;
    Ok(with_etag(answer(StatusCode::OK, &user), user.version))
}

fn list(api: &Api, path: &str, query: &str) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query);
    // Not as a text: a plus is part of an address.
    let email = parameters.parsed("email", |text| Ok::<_, &str>(normal_form(text)));
    let page = Page::read(&mut parameters);
    parameters.finish()?;
    let users = complete(&api.users)?;
    let (users, next) = users.read(|users| match &email {
        Some(email) => (users.with_email(email).map(UserBody::from).into_iter().collect(), None),
        None => page.take(users.after(page.after).map(|(place, user)| (place, UserBody::from(user)))),
    });
    let link = next.as_ref().and_then(|next| page.link(path, &[], next));
    let mut response = answer(StatusCode::OK, &UsersBody { count: users.len(), users, next });
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

async fn rename(
    api: &Api,
    id: &str,
    correlation: &Correlation,
    if_match: Option<&HeaderValue>,
    body: Body,
) -> Result<Response, Problem> {
    let id = user_id(id)?;
    let change = UserChange::read(&body?, api.limits.max_depth)?;
    let user = register::rename(&api.users, id, &change, if_match, correlation).await?;
    Ok(with_etag(answer(StatusCode::OK, &user), user.version))
}

async fn delete(
    api: &Api,
    id: &str,
    correlation: &Correlation,
    if_match: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    register::delete(&api.users, user_id(id)?, if_match, correlation).await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn user_id(raw: &str) -> Result<Uuid, Problem> {
    let fault = |message| Problem::invalid(vec![FieldError::new("userId", message)]);
    uuid(&segment("userId", raw)?).map_err(fault)
}
