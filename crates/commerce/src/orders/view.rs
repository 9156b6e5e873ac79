//! The projection of orders from their events.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use highwater_table::{Projection, Versioned as _};
use highwater_web::{idempotency::Idempotency, page::Position};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{
    event::{OrderCreated, OrderEvent, OrderItem},
    price::Price,
    status::{OrderAction, OrderStatus},
};

/// All orders.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    by_id: HashMap<Uuid, Arc<Order>>,
    listed: BTreeSet<Position>,
    by_user: HashMap<Uuid, BTreeSet<Position>>,
    by_status: HashMap<OrderStatus, BTreeSet<Position>>,
    bytes: usize,
}

/// About the bytes of each beside its texts, with the free room of tables and trees: an order with its places in the lists,
/// the list of a user, an item, a change.
const ORDER_BYTES: usize = 480;
const USER_BYTES: usize = 440;
const ITEM_BYTES: usize = 64;
const CHANGE_BYTES: usize = 96;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// The user who ordered.
    pub user_id: Uuid,
    /// The items.
    pub items: Vec<OrderItem>,
    /// The currency of the prices.
    pub currency: String,
    /// The total price.
    pub total: Price,
    /// The request's identity, if it came with an Idempotency-Key.
    pub idempotency: Option<Idempotency>,
    /// Its life so far, one entry a version; the first is its creation.
    history: Vec<HistoryEntry>,
}

/// A moment in the life of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The status of the order from then on.
    pub status: OrderStatus,
    /// The time of the change.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub at: DateTime<Utc>,
    /// The action; absent for the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<OrderAction>,
    /// The reason, where nobody asked for the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request's identity.
    #[serde(skip)]
    pub idempotency: Option<Idempotency>,
}

impl Order {
    /// Its version: the number of its events.
    pub fn version(&self) -> u64 {
        self.history.len() as u64
    }

    /// Its status.
    pub fn status(&self) -> OrderStatus {
        self.history.last().map_or(OrderStatus::Pending, |change| change.status)
    }

    /// Its life so far.
    pub fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// About its bytes in memory; its JSON has about the same length.
    pub fn bytes(&self) -> usize {
        let items = self.items.iter().map(|item| ITEM_BYTES + item.sku.len());
        ORDER_BYTES + items.sum::<usize>() + self.history.iter().map(HistoryEntry::bytes).sum::<usize>()
    }

    /// The order in this version.
    pub fn at_version(&self, version: u64) -> Self {
        let mut then = self.clone();
        then.history.truncate(usize::try_from(version).unwrap_or(usize::MAX));
        then
    }

    /// The version that a request with this key made, and its entry.
    pub fn changed_by(&self, key: Uuid) -> Option<(u64, &HistoryEntry)> {
        let is_its = |change: &HistoryEntry| change.idempotency.is_some_and(|request| request.key == key);
        let place = self.history.iter().skip(1).position(is_its)? + 1;
        Some((place as u64 + 1, &self.history[place]))
    }

    fn place(&self) -> Position {
        Position { at: self.history.first().map_or(DateTime::UNIX_EPOCH, |created| created.at), id: self.id }
    }
}

impl HistoryEntry {
    fn bytes(&self) -> usize {
        CHANGE_BYTES + self.reason.as_ref().map_or(0, String::len)
    }
}

impl Orders {
    /// The order with this id.
    pub fn get(&self, id: Uuid) -> Option<&Arc<Order>> {
        self.by_id.get(&id)
    }

    /// The orders after that position, by their creation: of that user, in that status.
    pub fn after(
        &self,
        place: Option<Position>,
        user: Option<Uuid>,
        status: Option<OrderStatus>,
    ) -> impl Iterator<Item = (Position, &Arc<Order>)> {
        static NONE: BTreeSet<Position> = BTreeSet::new();
        let among = match (user, status) {
            (Some(user), _) => self.by_user.get(&user).unwrap_or(&NONE),
            (None, Some(status)) => self.by_status.get(&status).unwrap_or(&NONE),
            (None, None) => &self.listed,
        };
        let orders = Position::after(among, place).filter_map(|place| Some((*place, self.get(place.id)?)));
        orders.filter(move |(_, order)| status.is_none_or(|status| order.status() == status))
    }

    /// The orders of that user that can still be cancelled.
    pub fn open_orders_of(&self, user: Uuid) -> Vec<Uuid> {
        self.after(None, Some(user), None)
            .filter(|(_, order)| order.status().is_open())
            .map(|(place, _)| place.id)
            .collect()
    }

    /// The number of orders.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    fn create(&mut self, created: OrderCreated) {
        let OrderCreated { order_id, user_id, at, items, currency, total, idempotency } = created;
        let creation =
            HistoryEntry { status: OrderStatus::Pending, at, action: None, reason: None, idempotency: None };
        let order =
            Order { id: order_id, user_id, items, currency, total, idempotency, history: vec![creation] };
        let place = order.place();
        self.listed.insert(place);
        let of_user = match self.by_user.entry(user_id) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(first) => {
                self.bytes += USER_BYTES;
                first.insert(BTreeSet::new())
            }
        };
        of_user.insert(place);
        self.by_status.entry(OrderStatus::Pending).or_default().insert(place);
        self.bytes += order.bytes();
        self.by_id.insert(order_id, Arc::new(order));
    }
}

impl Projection for Orders {
    type Event = OrderEvent;

    fn version_of(&self, event: &OrderEvent) -> u64 {
        self.by_id.get(&event.order_id()).map_or(0, |order| order.version())
    }

    fn apply(&mut self, event: OrderEvent) -> bool {
        let is_first = event.version() == 1;
        match event {
            OrderEvent::OrderCreated(created) => self.create(created),
            OrderEvent::OrderStatusChanged(changed) => {
                let Some(order) = self.by_id.get_mut(&changed.order_id).filter(|_| !is_first) else {
                    return false;
                };
                let from = order.status();
                if from.after(changed.action) != Some(changed.status) {
                    return false;
                }
                let change = HistoryEntry {
                    status: changed.status,
                    at: changed.at,
                    action: Some(changed.action),
                    reason: changed.reason,
                    idempotency: changed.idempotency,
                };
                self.bytes += change.bytes();
                // An answer that is being written keeps the order unchanged.
                Arc::make_mut(order).history.push(change);
                let place = order.place();
                if let Some(left) = self.by_status.get_mut(&from) {
                    left.remove(&place);
                }
                self.by_status.entry(changed.status).or_default().insert(place);
            }
        }
        true
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
