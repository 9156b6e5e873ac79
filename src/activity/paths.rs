//! The paths that this service serves, the methods that each takes, and the scope that each needs.

use highwater_web::{
    auth::Need,
    dead_letters,
    http::{Path, Paths},
    operations,
};
use warp::http::Method;

const READ: &str = "GET, HEAD, OPTIONS";
/// The busiest first.
const EVENTS: &[Path] = &[
    ("/events/generate", "POST, OPTIONS", Need::OwnEvents),
    ("/events/batch", "POST, OPTIONS", Need::OwnEvents),
    ("/v1/{call}", "POST, OPTIONS", Need::OwnEvents),
    ("/api/events", "GET, HEAD, POST, OPTIONS", Need::OwnEvents),
    ("/events/stream", READ, Need::OwnEvents),
    ("/events/processed", READ, Need::OwnEvents),
    ("/events/processed/{eventId}", READ, Need::OwnEvents),
    ("/api/events/type/{eventType}", READ, Need::OwnEvents),
];
const OF_USER: &[Path] = &[("/api/events/user/{userId}", READ, Need::OwnEvents)];
const OF_ADMINS: &[Path] = &[
    ("/api/events/user/{userId}", "GET, HEAD, DELETE, OPTIONS", Need::ErasableEvents),
    ("/api/events/erasures/{erasureId}", READ, Need::Admin),
    ("/rejections", READ, Need::Admin),
];

const CONSOLE: &[Path] = &[("/console", READ, Need::Nothing), ("/console/{file}", READ, Need::Nothing)];

/// All paths.
pub static PATHS: Paths =
    Paths(&[EVENTS, OF_ADMINS, operations::PATHS, operations::GROUP_PATHS, CONSOLE, dead_letters::PATHS]);
/// The paths of a service without admins.
pub(super) static WITHOUT_ADMINS: Paths =
    Paths(&[EVENTS, OF_USER, operations::PATHS, operations::GROUP_PATHS, CONSOLE]);

/// Whether a request posts events.
pub(super) fn takes_events(method: &Method, path: &str) -> bool {
    method == Method::POST && PATHS.need(path) == Some(Need::OwnEvents)
}
