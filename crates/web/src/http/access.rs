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
    /// How the service is; for all else there is no connection free.
    Reserve,
    /// How the service is; nothing else is there.
    Probes,
    /// The metrics; nothing else is there.
    Metrics,
    /// How the service is; for all else the client must show a certificate.
    Stranger,
}

impl Access {
    /// The answer to a request for that path, where it may not be asked.
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

    /// Whether it is of a port that those have who run the service: who comes there is not asked for a credential.
    pub(super) fn is_apart(self) -> bool {
        matches!(self, Self::Probes | Self::Metrics)
    }
}

fn is_metrics(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == "/metrics"
}

/// Whether that path asks how the service is. Such a request is answered whatever others there are.
pub(super) fn is_probe(path: &str) -> bool {
    PROBES.contains(&path) || path.starts_with("/ready/")
}

/// 403: TLS could not ask for one in words.
fn unknown_client() -> Problem {
    let detail = "clients must show a certificate of an authority that this service trusts";
    Problem::new(StatusCode::FORBIDDEN, detail)
}
