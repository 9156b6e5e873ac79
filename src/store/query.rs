//! What can be asked of a store.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Stored;

/// Which events; an absent field asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Exactly this user.
    pub user_id: Option<String>,
    /// This type, compared without case.
    pub event_type: Option<String>,
    /// The event's timestamp, from here on.
    pub from: Option<DateTime<Utc>>,
    /// The event's timestamp, before here.
    pub to: Option<DateTime<Utc>>,
}

/// A place in the order of processing. Grows with each event, by one or more; has no meaning after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A stretch of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Arc<Stored>>,
    /// Where to go on; `None` when there is nothing more before `until`.
    pub next: Option<Position>,
}
