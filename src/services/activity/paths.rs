//! The paths that are served: what metrics call them, and the methods that each takes.

/// Each path, as a pattern.
pub(super) static PATTERNS: [&str; 12] = [
    "/events/generate",
    "/api/events",
    "/events/processed",
    "/events/processed/{eventId}",
    "/api/events/user/{userId}",
    "/api/events/type/{eventType}",
    "/health",
    "/ready",
    "/group",
    "/metrics",
    "/dead-letters",
    "/dead-letters/redrive",
];

/// The place in [`PATTERNS`] of what a path belongs to. One `/` at its end makes no difference.
pub(super) fn place(path: &str) -> Option<usize> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let is_segment = |rest: &str| !rest.is_empty() && !rest.contains('/');
    PATTERNS.iter().position(|pattern| match pattern.split_once('{') {
        None => path == *pattern,
        Some((beginning, _)) => path.strip_prefix(beginning).is_some_and(is_segment),
    })
}

/// The methods of a path, for `Allow`; none where nothing is served. Dead letters are where there is a desk.
pub(super) fn methods(path: &str, has_desk: bool) -> Option<&'static str> {
    Some(match PATTERNS[place(path)?] {
        "/dead-letters" | "/dead-letters/redrive" if !has_desk => return None,
        "/dead-letters/redrive" => "POST, OPTIONS",
        "/events/generate" => "POST, OPTIONS",
        "/api/events" => "GET, HEAD, POST, OPTIONS",
        _ => "GET, HEAD, OPTIONS",
    })
}
