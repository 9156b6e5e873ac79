//! The filter tree of the order service.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;
use warp::{
    Filter, Rejection, Reply,
    filters::path::FullPath,
    http::{HeaderValue, StatusCode, header},
    path,
    reply::Response,
};

use super::{
    answer::{OrderBody, OrdersBody},
    ordering::{self, Books, Step},
    request::NewOrder,
    status::{Action, Status},
};
use crate::{
    http::{
        self, BodyLimits, Correlation, FieldError, Parameters, Paths, Problem, answer, correlation,
        json_body, query, reads, segment, with, with_etag,
    },
    messaging::Context,
    services::{
        fields::uuid,
        idempotency::{self, Idempotency},
        operations::{self, Operations},
        page::Page,
        state::complete,
    },
};

const STEP: &str = "POST, OPTIONS";
const READ: &str = "GET, HEAD, OPTIONS";

/// Each path, and its methods.
pub static PATHS: Paths = Paths(&[
    ("/orders", "GET, HEAD, POST, OPTIONS"),
    ("/orders/{orderId}", READ),
    ("/orders/{orderId}/confirm", STEP),
    ("/orders/{orderId}/pay", STEP),
    ("/orders/{orderId}/ship", STEP),
    ("/orders/{orderId}/deliver", STEP),
    ("/orders/{orderId}/cancel", STEP),
    ("/health", READ),
    ("/ready", READ),
    ("/group", READ),
    ("/metrics", READ),
]);

/// What the routes answer from.
#[derive(Debug)]
pub struct Api {
    /// The users and the orders.
    pub books: Arc<Books>,
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
    let create = path!("orders")
        .and(warp::post())
        .and(with(&api))
        .and(correlation())
        .and(http::header(idempotency::HEADER))
        .and(json_body(api.limits))
        .then(|api: Arc<Api>, correlation: Correlation, key: Header, body: Body| async move {
            let created = create(&api, &correlation, key.as_ref(), body).await;
            correlation.on(created.unwrap_or_else(Reply::into_response))
        });
    let advance = path!("orders" / String / Action)
        .and(warp::post())
        .and(with(&api))
        .and(correlation())
        .and(http::header(idempotency::HEADER))
        .and(http::header("if-match"))
        .then(
            |id: String,
             action: Action,
             api: Arc<Api>,
             correlation: Correlation,
             key: Header,
             if_match: Header| async move {
                let advanced =
                    advance(&api, &id, action, &correlation, key.as_ref(), if_match.as_ref()).await;
                correlation.on(advanced.unwrap_or_else(Reply::into_response))
            },
        );
    create
        .or(advance)
        .unify()
        .or(asked(&api))
        .unify()
        .or(operations::routes(&api.operations))
        .unify()
        .or(http::unknown(&PATHS))
        .unify()
        .boxed()
        .recover(http::unrouted)
}

/// The routes that change nothing.
fn asked(api: &Arc<Api>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let list = path!("orders").and(reads()).and(with(api)).and(warp::path::full()).and(query()).map(
        |api: Arc<Api>, path: FullPath, query: String| {
            list(&api, path.as_str(), &query).unwrap_or_else(Reply::into_response)
        },
    );
    let find = path!("orders" / String)
        .and(reads())
        .and(with(api))
        .map(|id: String, api: Arc<Api>| find(&api, &id).unwrap_or_else(Reply::into_response));
    list.or(find).unify()
}

async fn create(
    api: &Api,
    correlation: &Correlation,
    key: Option<&HeaderValue>,
    body: Body,
) -> Result<Response, Problem> {
    let new = NewOrder::read(&body?, api.limits.max_depth)?;
    let idempotency = Idempotency::read(key, &new)?;
    let order = api.books.order(&new, idempotency, &Context::correlated(correlation.as_str())).await?;
    let mut response = answer(StatusCode::CREATED, &order);
    if let Ok(location) = HeaderValue::try_from(format!("/orders/{}", order.order_id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(with_etag(response, order.version))
}

async fn advance(
    api: &Api,
    id: &str,
    action: Action,
    correlation: &Correlation,
    key: Option<&HeaderValue>,
    if_match: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    let id = order_id(id)?;
    let idempotency = Idempotency::read(key, &(id, action))?;
    let step = Step { if_match, idempotency, reason: None };
    let order = api.books.advance(id, action, step, &Context::correlated(correlation.as_str())).await?;
    Ok(with_etag(answer(StatusCode::OK, &order), order.version))
}

fn find(api: &Api, id: &str) -> Result<Response, Problem> {
    let id = order_id(id)?;
    let found = complete(&api.books.orders)?.read(|orders| orders.get(id).map(OrderBody::from));
    let order = found.ok_or_else(|| ordering::unknown(id))?;
    Ok(with_etag(answer(StatusCode::OK, &order), order.version))
}

fn list(api: &Api, path: &str, query: &str) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query);
    let user = parameters.parsed("userId", uuid);
    let status = parameters.parsed("status", str::parse::<Status>);
    let page = Page::read(&mut parameters);
    parameters.finish()?;
    let (orders, next) = complete(&api.books.orders)?.read(|orders| {
        let after = orders.after(page.after, user, status);
        page.take(after.map(|(place, order)| (place, OrderBody::from(order))))
    });
    let filters =
        [("userId", user.map(|user| user.to_string())), ("status", status.map(|status| status.to_string()))];
    let filters: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let link = next.as_ref().and_then(|next| page.link(path, &filters, next));
    let mut response = answer(StatusCode::OK, &OrdersBody { count: orders.len(), orders, next });
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn order_id(raw: &str) -> Result<Uuid, Problem> {
    let fault = |message| Problem::invalid(vec![FieldError::new("orderId", message)]);
    uuid(&segment("orderId", raw)?).map_err(fault)
}
