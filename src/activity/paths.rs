//! The paths that this service serves, and the methods that each takes.

use highwater_web::http::Paths;

const READ: &str = "GET, HEAD, OPTIONS";
const ALL: &[(&str, &str)] = &[
    ("/events/generate", "POST, OPTIONS"),
    ("/api/events", "GET, HEAD, POST, OPTIONS"),
    ("/events/processed", READ),
    ("/events/processed/{eventId}", READ),
    ("/api/events/user/{userId}", READ),
    ("/api/events/type/{eventType}", READ),
    ("/health", READ),
    ("/ready", READ),
    ("/ready/read", READ),
    ("/group", READ),
    ("/metrics", READ),
    ("/openapi.json", READ),
    ("/swagger", READ),
    ("/swagger/{file}", READ),
    ("/dead-letters", READ),
    ("/dead-letters/redrive", "POST, OPTIONS"),
];

/// Each path, the busiest first.
pub static PATHS: Paths = Paths(ALL);
/// Those where dead letters cannot be seen to.
pub(super) static WITHOUT_DESK: Paths = Paths(ALL.split_at(14).0);
