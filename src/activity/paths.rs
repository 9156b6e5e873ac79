//! The paths that this service serves, the methods that each takes, and what each asks of clients.

use highwater_web::{auth::Need, http::Paths};

const READ: &str = "GET, HEAD, OPTIONS";
const ALL: &[(&str, &str, Need)] = &[
    ("/events/generate", "POST, OPTIONS", Need::OwnEvents),
    ("/api/events", "GET, HEAD, POST, OPTIONS", Need::OwnEvents),
    ("/events/processed", READ, Need::OwnEvents),
    ("/events/processed/{eventId}", READ, Need::OwnEvents),
    ("/api/events/user/{userId}", READ, Need::OwnEvents),
    ("/api/events/type/{eventType}", READ, Need::OwnEvents),
    ("/health", READ, Need::Nothing),
    ("/ready", READ, Need::Nothing),
    ("/ready/read", READ, Need::Nothing),
    ("/group", READ, Need::Operations),
    ("/metrics", READ, Need::Operations),
    ("/openapi.json", READ, Need::Nothing),
    ("/swagger", READ, Need::Nothing),
    ("/swagger/{file}", READ, Need::Nothing),
    ("/dead-letters", READ, Need::Admin),
    ("/dead-letters/redrive", "POST, OPTIONS", Need::Admin),
];

/// Each path, the busiest first.
pub static PATHS: Paths = Paths(ALL);
/// Those where dead letters cannot be seen to.
pub(super) static WITHOUT_DESK: Paths = Paths(ALL.split_at(14).0);
