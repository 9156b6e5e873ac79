//! The life of an order: one table of all transitions.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OrderStatus {
    /// Taken, and not confirmed.
    Pending,
    /// Confirmed, and not paid.
    Confirmed,
    /// Paid, and not shipped.
    Paid,
    /// On its way.
    Shipped,
    /// Arrived: nothing follows.
    Delivered,
    /// Given up: nothing follows.
    Cancelled,
}

/// A transition of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderAction {
    /// Confirms the order.
    Confirm,
    /// Marks it as paid.
    Pay,
    /// Marks it as shipped.
    Ship,
    /// Marks it as delivered.
    Deliver,
    /// Cancels it.
    Cancel,
}

/// Every transition: from, by, to. A transition that is not here is not allowed.
pub const TRANSITIONS: [(OrderStatus, OrderAction, OrderStatus); 7] = [
    (OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Confirmed),
    (OrderStatus::Confirmed, OrderAction::Pay, OrderStatus::Paid),
    (OrderStatus::Paid, OrderAction::Ship, OrderStatus::Shipped),
    (OrderStatus::Shipped, OrderAction::Deliver, OrderStatus::Delivered),
    (OrderStatus::Pending, OrderAction::Cancel, OrderStatus::Cancelled),
    (OrderStatus::Confirmed, OrderAction::Cancel, OrderStatus::Cancelled),
    (OrderStatus::Paid, OrderAction::Cancel, OrderStatus::Cancelled),
];

impl OrderStatus {
    /// All statuses, in the order of a life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Confirmed, Self::Paid, Self::Shipped, Self::Delivered, Self::Cancelled];

    /// The status after this action; `None` where the action is not allowed.
    pub fn after(self, action: OrderAction) -> Option<Self> {
        let found = TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (self, action));
        found.map(|(.., to)| *to)
    }

    /// The allowed actions.
    pub fn allowed(self) -> impl Iterator<Item = OrderAction> {
        TRANSITIONS.iter().filter(move |(from, ..)| *from == self).map(|(_, action, _)| *action)
    }

    /// Whether the order can still be cancelled.
    pub fn is_open(self) -> bool {
        self.after(OrderAction::Cancel).is_some()
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Confirmed => "Confirmed",
            Self::Paid => "Paid",
            Self::Shipped => "Shipped",
            Self::Delivered => "Delivered",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OrderStatus {
    type Err = String;

    /// Parses a name in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl FromStr for OrderAction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::named(text).ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl OrderAction {
    /// All actions, in the order of a life.
    pub const ALL: [Self; 5] = [Self::Confirm, Self::Pay, Self::Ship, Self::Deliver, Self::Cancel];

    /// The name in events and in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Pay => "pay",
            Self::Ship => "ship",
            Self::Deliver => "deliver",
            Self::Cancel => "cancel",
        }
    }

    /// The action with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl fmt::Display for OrderAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
