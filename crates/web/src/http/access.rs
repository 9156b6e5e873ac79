//! The routes that a connection may use.

use hyper::StatusCode;

use super::{Config, Problem, connection, nothing};

/// The routes for operators. `/ready` has routes below it.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// The routes that are open to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    All,
    /// The probes; no connection is free for other routes.
    Reserve,
    /// The probes; this port has no other routes.
    Probes,
    /// The metrics; this port has no other routes.
    Metrics,
    /// The probes; other routes need the client's certificate.
    Stranger,
}

impl Access {
    /// The answer to a request for a path that is not open.
    pub(super) fn refusal(self, path: &str, config: &Config) -> Option<Problem> {
        let is_elsewhere = || config.metrics_port.is_some() && is_metrics(path);
        match self {
            Self::All | Self::Reserve if is_elsewhere() => Some(nothing(path)),
            Self::All => None,
            Self::Metrics if is_metrics(path) => None,
            Self::Metrics => Some(Problem::new(
                StatusCode::NOT_FOUND,
                "this port is for /metrics; everything else is on the service's own",
            )),
            Self::Stranger if path == "/metrics" => Some(unknown_client()),
            _ if is_probe(path) => None,
            Self::Stranger => Some(unknown_client()),
            Self::Reserve => Some(connection::too_many()),
            Self::Probes => Some(Problem::new(
                StatusCode::NOT_FOUND,
                "this port is for /health, /ready and /metrics; everything else is on the service's own",
            )),
        }
    }

    /// Whether the connection is on a port for operators, which asks for no credential.
    pub(super) fn is_apart(self) -> bool {
        matches!(self, Self::Probes | Self::Metrics)
    }
}

fn is_metrics(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == "/metrics"
}

/// Whether the path is a probe. A probe is answered under any load.
pub(super) fn is_probe(path: &str) -> bool {
    PROBES.contains(&path) || path.starts_with("/ready/")
}

/// 403: TLS itself has no words to ask for a certificate.
fn unknown_client() -> Problem {
    let detail = "clients must show a certificate of an authority that this service trusts";
    Problem::new(StatusCode::FORBIDDEN, detail)
}
