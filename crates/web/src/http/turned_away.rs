//! Requests that no route sees: a service may want to hear of them.

use std::sync::Arc;

use hyper::Method;

use super::Problem;

/// A request that was refused before any route saw it.
#[derive(Debug)]
pub struct TurnedAway<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path.
    pub path: &'a str,
    /// Its `X-Correlation-Id`, where it has one.
    pub correlation_id: Option<&'a str>,
    /// The name of the key or the subject of the token, where that is known.
    pub client: Option<&'a Arc<str>>,
    /// The answer.
    pub problem: &'a Problem,
}

/// Hears of requests that were refused before any route saw them.
pub trait RefusalListener: Send + Sync {
    /// A request was refused. It is called while the answer waits.
    fn turned_away(&self, request: &TurnedAway<'_>);
}
