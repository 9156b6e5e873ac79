//! Orders as clients see them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{
    event::OrderItem,
    price::Price,
    status::OrderStatus,
    view::{HistoryEntry, Order},
};

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Order")]
pub struct OrderBody {
    /// Its id.
    pub order_id: Uuid,
    /// The user who ordered.
    pub user_id: Uuid,
    /// The status.
    pub status: OrderStatus,
    /// The items.
    pub items: Vec<OrderItem>,
    /// The currency of the prices.
    pub currency: String,
    /// The total price: exact, with the currency's digits after the point.
    pub total: Price,
    /// The version, as in the ETag.
    pub version: u64,
    /// The time of its creation.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub created_at: DateTime<Utc>,
    /// The time of its last change.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub updated_at: DateTime<Utc>,
    /// Its life so far.
    pub history: Vec<HistoryEntry>,
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Orders")]
pub struct OrdersBody {
    /// The orders, by the time of their creation.
    pub orders: Vec<OrderBody>,
    /// The number of entries on the page.
    pub count: usize,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<&Order> for OrderBody {
    fn from(order: &Order) -> Self {
        let timestamp =
            |change: Option<&HistoryEntry>| change.map_or(DateTime::UNIX_EPOCH, |change| change.at);
        Self {
            order_id: order.id,
            user_id: order.user_id,
            status: order.status(),
            items: order.items.clone(),
            currency: order.currency.clone(),
            // Older orders have their total as it was computed.
            total: order.total.in_currency(&order.currency),
            version: order.version(),
            created_at: timestamp(order.history().first()),
            updated_at: timestamp(order.history().last()),
            history: order.history().to_vec(),
        }
    }
}
