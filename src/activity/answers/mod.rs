//! What the service answers, a file a kind of answer.

pub(super) mod event;
pub(super) mod listing;
pub(super) mod published;
pub(super) mod turns;

use highwater_web::http::Problem;

use crate::store::StoreError;

/// 503: others read as much as may be read at one time.
pub(super) fn crowded() -> Problem {
    Problem::unavailable("too many long listings are under way; with filters or a limit one takes less", 1)
}

/// 503: the store cannot be asked now. Why is for the log.
pub(super) fn store_is_away(error: &StoreError) -> Problem {
    log::error!("a read failed: {error}");
    Problem::unavailable("the store of processed events cannot be read now", 1)
}
