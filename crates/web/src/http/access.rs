//! What a connection may ask.

use hyper::StatusCode;

use super::{Config, Problem, connection, nothing};

/// What those ask who run the service. `/ready` has kinds below it.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// What may be asked on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    All,
    /// How the service is; for all else there is no connection free.
    Reserve,
    /// How the service is; nothing else is there.
    Probes,
    /// What is counted; nothing else is there.
    Metrics,
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
            _ if is_probe(path) => None,
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
