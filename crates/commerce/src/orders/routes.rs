//! The filter tree of the order service.

use std::{convert::Infallible, num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use highwater_kafka::Context;
use highwater_web::{
    auth::{Grant, Need, Reads, grant},
    http::{
        self, BodyLimits, CorrelationId, Parameters, Paths, Problem, correlation, json_body, query, reads,
        with,
    },
    idempotency::{self, Idempotency},
    identity::uuid,
    operations::{self, Operations},
    page::PageRequest,
    resource,
};
use warp::{Filter, Reply, filters::path::FullPath, http::HeaderValue, path, reply::Response};

use super::{
    answer::{OrderBody, OrdersBody},
    openapi::DOCUMENT,
    order_service::{self, Advance, OrderService},
    request::NewOrder,
    status::{OrderAction, OrderStatus},
};
use crate::state::complete;

const STEP: &str = "POST, OPTIONS";
const READ: &str = "GET, HEAD, OPTIONS";

/// Each path, its methods, and its need.
pub static PATHS: Paths = Paths(&[
    &[
        ("/orders", "GET, HEAD, POST, OPTIONS", Need::OwnEvents),
        ("/orders/{orderId}", READ, Need::OwnEvents),
        ("/orders/{orderId}/confirm", STEP, Need::Events),
        ("/orders/{orderId}/pay", STEP, Need::Events),
        ("/orders/{orderId}/ship", STEP, Need::Events),
        ("/orders/{orderId}/deliver", STEP, Need::Events),
        ("/orders/{orderId}/cancel", STEP, Need::Events),
    ],
    operations::PATHS,
    operations::GROUP_PATHS,
]);

/// The state that the routes answer from.
#[derive(Debug)]
pub struct Api {
    /// The users and the orders.
    pub service: Arc<OrderService>,
    /// The limits of a body.
    pub limits: BodyLimits,
    /// The sources of the service's status.
    pub operations: Arc<Operations>,
}

/// All routes of the service. Every request gets an answer: 404 or 405 where no route takes it.
pub fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let create = path!("orders")
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
    let advance =
        path!("orders" / String / OrderAction)
            .and(warp::post())
            .and(with(&api))
            .and(correlation())
            .and(idempotency::header())
            .and(http::header("if-match"))
            .and(grant())
            .then(
                |id: String,
                 action,
                 api: Arc<Api>,
                 correlation: CorrelationId,
                 key,
                 if_match,
                 grant: Grant| async move {
                    let advanced = match grant.charge_events([], NonZeroU32::MIN) {
                        Ok(()) => advance(&api, &id, action, &correlation, key, if_match).await,
                        Err(problem) => Err(problem),
                    };
                    correlation.on(advanced.into_response())
                },
            );
    let list =
        path!("orders").and(reads()).and(with(&api)).and(grant()).and(warp::path::full()).and(query()).map(
            |api: Arc<Api>, grant: Grant, path: FullPath, query: String| {
                list(&api, &grant, path.as_str(), &query).into_response()
            },
        );
    let find = path!("orders" / String)
        .and(reads())
        .and(with(&api))
        .and(grant())
        .map(|id: String, api: Arc<Api>, grant: Grant| find(&api, &grant, &id).into_response());
    http::first_of([
        create.boxed(),
        advance.boxed(),
        list.boxed(),
        find.boxed(),
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
    let new = NewOrder::read(&body?, api.limits.max_depth)?;
    let idempotency = Idempotency::read(&key, &new)?;
    let user = new.user_id.to_string();
    grant.check_write(&user)?;
    grant.charge_event(&user)?;
    let order = api.service.order(&new, idempotency, &Context::correlated(correlation.as_str())).await?;
    Ok(resource::created(&format!("/orders/{}", order.order_id), &order, order.version))
}

async fn advance(
    api: &Api,
    id: &str,
    action: OrderAction,
    correlation: &CorrelationId,
    key: Vec<HeaderValue>,
    if_match: Option<HeaderValue>,
) -> Result<Response, Problem> {
    let id = resource::id("orderId", id)?;
    let idempotency = Idempotency::read(&key, &(id, action))?;
    let step = Advance { if_match: if_match.as_ref(), idempotency, reason: None };
    let order = api.service.advance(id, action, step, &Context::correlated(correlation.as_str())).await?;
    Ok(resource::current(&order, order.version))
}

fn find(api: &Api, grant: &Grant, id: &str) -> Result<Response, Problem> {
    let id = resource::id("orderId", id)?;
    let found = complete(&api.service.orders)?.read(|orders| orders.get(id).cloned());
    // Such a client does not learn that another user's order exists.
    let found = found.filter(|order| match grant.reads() {
        Reads::All => true,
        Reads::Own(user) => user == order.user_id.to_string(),
    });
    let order = OrderBody::from(&*found.ok_or_else(|| order_service::unknown(id))?);
    Ok(resource::current(&order, order.version))
}

fn list(api: &Api, grant: &Grant, path: &str, query: &str) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query);
    let user = parameters.parsed("userId", uuid);
    let status = parameters.parsed("status", str::parse::<OrderStatus>);
    let page = PageRequest::read(&mut parameters);
    parameters.finish()?;
    let user = match (user, grant.reads()) {
        (Some(user), _) => {
            grant.check_read(&user.to_string())?;
            grant.charge_request(&user.to_string())?;
            Some(user)
        }
        // No user has a subject that is no id.
        (None, Reads::Own(user)) => Some(uuid(user).unwrap_or_default()),
        (None, Reads::All) => None,
    };
    let (orders, next) = complete(&api.service.orders)?.read(|orders| {
        let after = orders.after(page.after, user, status);
        page.take(after.map(|(place, order)| (place, Arc::clone(order))), |order| order.bytes())
    });
    // Converted here and not above, where the view stands still meanwhile.
    let orders: Vec<_> = orders.iter().map(|order| OrderBody::from(&**order)).collect();
    let filters =
        [("userId", user.map(|user| user.to_string())), ("status", status.map(|status| status.to_string()))];
    let body = OrdersBody { count: orders.len(), orders, next };
    Ok(page.answer(path, &filters, &body, body.next.as_deref()))
}
