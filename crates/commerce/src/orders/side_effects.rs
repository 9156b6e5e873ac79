//! Side effects of events: the open orders of a deleted user are cancelled.
//!
//! A deletion and an order can come in either order, on different topics. So both topics are consumed, and each batch waits
//! until both tables have caught up. For a deletion and an order, the decision about the later one uses tables that have the
//! other. Repetition gives the same result.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use highwater_kafka::{Batch, BatchHandler, BatchOutcome, Context, Envelope, Payload, TransientError};
use log::info;
use uuid::Uuid;

use super::{
    event::OrderEvent,
    order_service::{Advance, OrderService},
    status::OrderAction,
};
use crate::users::event::UserEvent;

/// The reason of a cancellation that nobody asked for.
const REASON: &str = "the user was deleted";

/// Cancels the open orders of deleted users.
#[derive(Debug, Clone)]
pub struct CancelOrders {
    service: Arc<OrderService>,
}

impl CancelOrders {
    /// Cancels orders by these views, and writes to them.
    pub fn new(service: Arc<OrderService>) -> Self {
        Self { service }
    }

    /// Cancels for the users of some events, each with the index of the first event that names the user.
    async fn see_to(&self, users: BTreeMap<Uuid, (usize, Context)>) -> BatchOutcome {
        if users.is_empty() {
            return BatchOutcome::default();
        }
        if let Err(error) = tokio::try_join!(self.service.users.caught_up(), self.service.orders.caught_up())
        {
            return BatchOutcome::retry_from(0, error);
        }
        let mut retry_from: Option<(usize, TransientError)> = None;
        for (user, (index, context)) in users {
            if let Err(error) = self.cancel_orders_of(user, &context).await
                && retry_from.as_ref().is_none_or(|(first, _)| index < *first)
            {
                retry_from = Some((index, error));
            }
        }
        retry_from.map_or_else(BatchOutcome::default, |(index, error)| BatchOutcome::retry_from(index, error))
    }

    async fn cancel_orders_of(&self, user: Uuid, context: &Context) -> Result<(), TransientError> {
        if !self.service.users.read(|users| users.is_deleted(user)) {
            return Ok(());
        }
        for order in self.service.orders.read(|orders| orders.open_orders_of(user)) {
            let step = Advance { reason: Some(REASON), ..Advance::default() };
            match self.service.advance(order, OrderAction::Cancel, step, context).await {
                Ok(_) => {
                    let correlation = context.correlation_id.as_deref().unwrap_or_default();
                    info!(
                        target: "highwater::cancelled",
                        orderId:% = order, userId:% = user, correlationId = correlation;
                        "cancelled, as {REASON}"
                    );
                }
                // Another writer was faster, and the order is not open any more.
                Err(problem) if problem.status().as_u16() == 409 => {}
                Err(problem) => return Err(TransientError::new(problem.detail())),
            }
        }
        Ok(())
    }
}

/// For each named user, the index of the first event that names it, and the context that follows from that event.
fn named<P: Payload>(
    batch: Batch<'_, P>,
    user_of: impl Fn(&P) -> Option<Uuid>,
) -> BTreeMap<Uuid, (usize, Context)> {
    let (events, batch) = batch.take();
    let mut users = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        if let Some(user) = user_of(event) {
            users.entry(user).or_insert_with(|| {
                let envelope = Envelope::read(batch.record(index));
                (index, envelope.as_ref().map(Context::caused_by).unwrap_or_default())
            });
        }
    }
    users
}

#[async_trait]
impl BatchHandler<UserEvent> for CancelOrders {
    async fn handle(&self, batch: Batch<'_, UserEvent>) -> BatchOutcome {
        let deleted = |event: &UserEvent| match event {
            UserEvent::UserDeleted(deleted) => Some(deleted.user_id),
            _ => None,
        };
        self.see_to(named(batch, deleted)).await
    }
}

#[async_trait]
impl BatchHandler<OrderEvent> for CancelOrders {
    async fn handle(&self, batch: Batch<'_, OrderEvent>) -> BatchOutcome {
        let ordered = |event: &OrderEvent| match event {
            OrderEvent::OrderCreated(created) => Some(created.user_id),
            OrderEvent::OrderStatusChanged(_) => None,
        };
        self.see_to(named(batch, ordered)).await
    }
}
