//! The paths that this service serves, the methods that each takes, and the scope that each needs.

use highwater_web::{
    auth::Need,
    dead_letters,
    http::{Path, Paths},
    operations,
};

const READ: &str = "GET, HEAD, OPTIONS";
/// The busiest first.
const EVENTS: &[Path] = &[
    ("/events/generate", "POST, OPTIONS", Need::OwnEvents),
    ("/events/batch", "POST, OPTIONS", Need::OwnEvents),
    ("/api/events", "GET, HEAD, POST, OPTIONS", Need::OwnEvents),
    ("/events/processed", READ, Need::OwnEvents),
    ("/events/processed/{eventId}", READ, Need::OwnEvents),
    ("/api/events/user/{userId}", READ, Need::OwnEvents),
    ("/api/events/type/{eventType}", READ, Need::OwnEvents),
];

/// All paths.
pub static PATHS: Paths = Paths(&[EVENTS, operations::PATHS, operations::GROUP_PATHS, dead_letters::PATHS]);
/// The paths of a service that nobody may redrive dead letters in.
pub(super) static WITHOUT_DEAD_LETTERS: Paths = Paths(&[EVENTS, operations::PATHS, operations::GROUP_PATHS]);
