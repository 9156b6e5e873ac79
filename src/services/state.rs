//! What clients hear of state that is kept by the log.

use std::sync::Arc;

use super::unpublished::unpublished;
use crate::{
    http::Problem,
    messaging::ledger::{AppendError, Fold, Ledger},
};

/// How often a write is decided anew when others were faster.
pub const ATTEMPTS: usize = 8;

/// The view, once it is complete.
///
/// # Errors
///
/// 503 while the log is not read to its end: what is asked for may be in the rest of it.
pub fn complete<F: Fold>(ledger: &Arc<Ledger<F>>) -> Result<&Arc<Ledger<F>>, Problem> {
    match ledger.is_complete() {
        true => Ok(ledger),
        false => Err(incomplete()),
    }
}

/// 503: others were faster time and again.
pub fn contended() -> Problem {
    Problem::unavailable("others change it at the same time; nothing was changed by this request", 1)
}

fn incomplete() -> Problem {
    Problem::unavailable("the state is not read to the end of the log yet", 1)
}

/// Why a write has no answer; `None` where it was void and is to be decided anew.
pub fn refusal(error: AppendError) -> Option<Problem> {
    const SAFE: &str = "Asking again with the same Idempotency-Key is safe: it happens once";
    match error {
        AppendError::Void => None,
        AppendError::Incomplete => Some(incomplete()),
        AppendError::Unpublished(error) => Some(unpublished(error, SAFE)),
    }
}
