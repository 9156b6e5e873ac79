//! The request that is being answered, for the handler at work on it. Without a server, as in a test of a filter alone, there
//! is none, and nothing here has an effect.

use std::{sync::Arc, time::Duration};

use hyper::header::{CONNECTION, HeaderValue};

use super::{CorrelationId, Problem, deadlines::ConnectionDeadlines};

tokio::task_local! {
    /// The deadlines of the connection that the request came on.
    static DEADLINES: Arc<ConnectionDeadlines>;
}

/// Has a handler work on the request of these deadlines.
pub(super) fn within<T>(deadlines: &Arc<ConnectionDeadlines>, work: impl FnOnce() -> T) -> T {
    DEADLINES.sync_scope(Arc::clone(deadlines), work)
}

/// Extends the deadline of the current request, for a handler that waits on the client's demand.
pub fn extend_deadline(more: Duration) {
    let _no_server = DEADLINES.try_with(|deadlines| deadlines.extend(more));
}

/// Lets the pieces of the current request's answer be so much longer in coming, for an answer that follows what a client
/// sends meanwhile.
pub fn allow_pauses(more: Duration) {
    let _no_server = DEADLINES.try_with(|deadlines| deadlines.allow_pauses(more));
}

/// Reserves memory for the current request beside that of every connection, for a handler that keeps what a client sends.
///
/// # Errors
///
/// 503: large requests have taken all there is.
pub fn reserve_memory(bytes: usize) -> Result<(), Problem> {
    let there = DEADLINES.try_with(|deadlines| deadlines.take(bytes)).unwrap_or(true);
    if there { Ok(()) } else { Err(no_memory()) }
}

/// The current request has that id, whatever becomes of its handler.
pub(super) fn correlate(correlation: &CorrelationId) {
    let _no_server = DEADLINES.try_with(|deadlines| deadlines.correlate(correlation.clone()));
}

/// 503: no memory is free. The connection ends with it: to read the rest of the request would hold what it has.
pub(super) fn no_memory() -> Problem {
    Problem::unavailable("large requests and answers have taken all memory that there is for them", 1)
        .with_header(CONNECTION, HeaderValue::from_static("close"))
}
