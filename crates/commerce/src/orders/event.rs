//! The events of orders in `order-events`: the contract with every service that reads the topic.
//!
//! The record's key is the order's id. An event makes a version of its order; it is rejected unless that version is one
//! more than that of the last event of this order that was applied.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use highwater_kafka::Event;
use highwater_table::Versioned;
use highwater_web::{fields::VISIBLE_LINE, idempotency::Idempotency};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    price::Price,
    request::{LONGEST_SKU, MOST_OF_AN_ITEM},
    status::{OrderAction, OrderStatus},
};

/// An event of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OrderEvent {
    /// A user ordered.
    OrderCreated(OrderCreated),
    /// The order has another status.
    OrderStatusChanged(OrderStatusChanged),
}

/// A user ordered; the order is `Pending`, and this is its version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// The order's id.
    pub order_id: Uuid,
    /// The user who ordered.
    pub user_id: Uuid,
    /// The time of the request.
    #[serde(with = "highwater_web::timestamp")]
    pub at: DateTime<Utc>,
    /// The items.
    pub items: Vec<OrderItem>,
    /// The currency of the prices, by ISO 4217.
    pub currency: String,
    /// The total price.
    pub total: Price,
    /// The request's identity, if it came with an Idempotency-Key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// An item of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderItem {
    /// The stock-keeping unit.
    #[schemars(length(min = 1, max = LONGEST_SKU), regex(pattern = VISIBLE_LINE))]
    pub sku: String,
    /// The quantity.
    #[schemars(range(min = 1, max = MOST_OF_AN_ITEM))]
    pub quantity: u32,
    /// The price of one piece.
    #[schemars(schema_with = "Price::unit_price")]
    pub unit_price: Price,
}

impl OrderItem {
    /// The price of all items together; `None` where it has more digits than can be kept, which the bounds of a request
    /// exclude.
    pub fn total(items: &[Self]) -> Option<Price> {
        Price::total(items.iter().map(|item| (item.unit_price, item.quantity)))
    }
}

/// The order has another status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatusChanged {
    /// The order's id.
    pub order_id: Uuid,
    /// The user who ordered.
    pub user_id: Uuid,
    /// The version of the order that this makes.
    pub version: u64,
    /// The time of the request.
    #[serde(with = "highwater_web::timestamp")]
    pub at: DateTime<Utc>,
    /// The action that changed it.
    pub action: OrderAction,
    /// The status before.
    pub from: OrderStatus,
    /// The status from now on.
    pub status: OrderStatus,
    /// The reason, if nobody asked for the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request's identity, if it came with an Idempotency-Key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

impl OrderEvent {
    /// The order of the event.
    pub fn order_id(&self) -> Uuid {
        match self {
            Self::OrderCreated(created) => created.order_id,
            Self::OrderStatusChanged(changed) => changed.order_id,
        }
    }

    /// The user of the order.
    pub fn user_id(&self) -> Uuid {
        match self {
            Self::OrderCreated(created) => created.user_id,
            Self::OrderStatusChanged(changed) => changed.user_id,
        }
    }
}

impl Event for OrderEvent {
    fn key(&self) -> Cow<'_, str> {
        self.order_id().to_string().into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        match self {
            Self::OrderCreated(_) => "OrderCreated",
            Self::OrderStatusChanged(_) => "OrderStatusChanged",
        }
        .into()
    }
}

impl Versioned for OrderEvent {
    const TYPES: &'static [&'static str] = &["OrderCreated", "OrderStatusChanged"];

    fn version(&self) -> u64 {
        match self {
            Self::OrderCreated(_) => 1,
            Self::OrderStatusChanged(changed) => changed.version,
        }
    }
}
