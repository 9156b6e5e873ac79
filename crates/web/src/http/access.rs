//! The routes that a connection may use.

use hyper::StatusCode;

use super::{Problem, connection};

/// The routes for operators. `/ready` has routes below it.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// The routes that are open to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    All,
    /// How the service is; for all else there is no connection free.
    Reserve,
    /// How the service is; nothing else is there.
    Probes,
}

impl Access {
    /// The answer to a request for that path, where it may not be asked.
    pub(super) fn refusal(self, path: &str) -> Option<Problem> {
        match self {
            Self::All => None,
            _ if is_probe(path) => None,
            Self::Reserve => Some(connection::too_many()),
            Self::Probes => Some(Problem::new(
                StatusCode::NOT_FOUND,
                "this port is for /health, /ready and /metrics; everything else is on the service's own",
            )),
        }
    }
}

/// Whether that path asks how the service is. Such a request is answered whatever others there are.
pub(super) fn is_probe(path: &str) -> bool {
    PROBES.contains(&path) || path.starts_with("/ready/")
}
