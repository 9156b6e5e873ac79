//! Writes: the log decides the outcome of a request.

use std::sync::Arc;

use highwater_kafka::Context;
use highwater_table::{EventSourcedTable, Projection};
use highwater_web::{
    http::{Problem, check_match},
    idempotency::{Idempotency, used_otherwise},
    timestamp,
};
use uuid::Uuid;
use warp::http::{HeaderValue, StatusCode, header};

use super::{
    Orders,
    answer::OrderBody,
    event::{OrderCreated, OrderEvent, OrderItem, OrderStatusChanged},
    request::NewOrder,
    status::{OrderAction, OrderStatus},
};
use crate::{
    state::{ATTEMPTS, MemoryLimit, append, complete, contended},
    users::{UserState, Users},
};

/// The tables that decide about orders, and the writes to them.
#[derive(Debug)]
pub struct OrderService {
    /// The users.
    pub users: Arc<EventSourcedTable<Users>>,
    /// The orders.
    pub orders: Arc<EventSourcedTable<Orders>>,
    /// The limit of their memory.
    pub memory: MemoryLimit,
}

/// The conditions and the reason of a transition.
#[derive(Debug, Clone, Default)]
pub(super) struct Advance<'a> {
    pub(super) if_match: Option<&'a HeaderValue>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) reason: Option<&'a str>,
}

impl OrderService {
    /// Takes an order; a repetition with the same key gets the same answer.
    ///
    /// # Errors
    ///
    /// 422 for a user that is not known or a key that was used for something else, 409 for a deleted user, 503, also where
    /// there is no room.
    pub(super) async fn order(
        &self,
        new: &NewOrder,
        idempotency: Option<Idempotency>,
        context: &Context,
    ) -> Result<OrderBody, Problem> {
        // The id follows from user and key, so one partition decides between two equal requests.
        let id = idempotency.map_or_else(Uuid::new_v4, |request| request.id_in(new.user_id));
        let total = OrderItem::total(&new.items).ok_or_else(Problem::internal)?.in_currency(&new.currency);
        let created = OrderCreated {
            order_id: id,
            user_id: new.user_id,
            at: timestamp::now(),
            items: new.items.clone(),
            currency: new.currency.clone(),
            total,
            idempotency,
        };
        for _ in 0..ATTEMPTS {
            let before = complete(&self.orders)?.read(|orders| {
                let order = orders.get(id)?;
                let is_same = order.idempotency == idempotency;
                Some(if is_same { Ok(OrderBody::from(&order.at_version(1))) } else { Err(used_otherwise()) })
            });
            if let Some(before) = before {
                return before;
            }
            let users = complete(&self.users)?;
            users.read(|users| may_order(users.state_of(new.user_id), new.user_id))?;
            self.memory.check(users.read(Projection::bytes) + self.orders.read(Projection::bytes))?;
            let event = OrderEvent::OrderCreated(created.clone());
            if append(&self.orders, event, context, idempotency.is_some()).await? {
                return self.as_of(id, 1);
            }
        }
        Err(contended())
    }

    /// Advances an order; a repetition with the same key gets the same answer.
    ///
    /// # Errors
    ///
    /// 404, 409 where its status does not allow it, 412 where `If-Match` names another version, 422 for a key that was
    /// used for something else, 503.
    pub(super) async fn advance(
        &self,
        id: Uuid,
        action: OrderAction,
        step: Advance<'_>,
        context: &Context,
    ) -> Result<OrderBody, Problem> {
        for _ in 0..ATTEMPTS {
            let order = complete(&self.orders)?.read(|orders| orders.get(id).cloned());
            let order = order.ok_or_else(|| unknown(id))?;
            if let Some(request) = step.idempotency
                && let Some((version, change)) = order.changed_by(request.key)
            {
                let is_same = change.idempotency == Some(request);
                return if is_same {
                    Ok(OrderBody::from(&order.at_version(version)))
                } else {
                    Err(used_otherwise())
                };
            }
            check_match(step.if_match, order.version())?;
            let from = order.status();
            let Some(status) = from.after(action) else { return Err(forbidden(from, action)) };
            let version = order.version() + 1;
            let changed = OrderStatusChanged {
                order_id: id,
                user_id: order.user_id,
                version,
                at: timestamp::now(),
                action,
                from,
                status,
                reason: step.reason.map(str::to_owned),
                idempotency: step.idempotency,
            };
            let event = OrderEvent::OrderStatusChanged(changed);
            if append(&self.orders, event, context, step.idempotency.is_some()).await? {
                return self.as_of(id, version);
            }
        }
        Err(contended())
    }

    /// The order as an event made it, without later changes.
    fn as_of(&self, id: Uuid, version: u64) -> Result<OrderBody, Problem> {
        let order = self.orders.read(|orders| orders.get(id).map(|order| order.at_version(version)));
        order.as_ref().map(OrderBody::from).ok_or_else(Problem::internal)
    }
}

pub(super) fn may_order(state_of: Option<&UserState>, user: Uuid) -> Result<(), Problem> {
    match state_of {
        Some(UserState::Registered(_)) => Ok(()),
        Some(UserState::Deleted(_)) => {
            Err(Problem::new(StatusCode::CONFLICT, format!("user {user} was deleted")))
        }
        None => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "user {user} is not known here: if the registration is a moment old, the news is on its way"
            ),
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))),
    }
}

/// 404.
pub(super) fn unknown(id: Uuid) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no order {id} here"))
}

/// 409: the order's status does not allow it.
pub(super) fn forbidden(status: OrderStatus, action: OrderAction) -> Problem {
    let allowed: Vec<&str> = status.allowed().map(OrderAction::name).collect();
    let can = if allowed.is_empty() {
        "nothing more can be done to it".to_owned()
    } else {
        format!("allowed: {}", allowed.join(", "))
    };
    Problem::new(StatusCode::CONFLICT, format!("the order is {status}: it cannot {action} now; {can}"))
        .with_member("orderStatus", status.name())
        .with_member("allowed", allowed)
}
