//! The answers of the service, one file per kind.

pub(super) mod concurrency_limit;
pub(super) mod erasure;
pub(super) mod event;
pub(super) mod listing;
pub(super) mod published;

use highwater_web::http::Problem;

use crate::store::StoreError;

/// 503: the limit of concurrent listings is reached.
pub(super) fn overloaded() -> Problem {
    Problem::unavailable("too many listings are under way; with filters or a limit one takes less", 1)
}

/// 503: the store is unavailable. The log has the reason.
pub(super) fn store_unavailable(error: &StoreError) -> Problem {
    log::error!("a read failed: {error}");
    Problem::unavailable("the store of processed events cannot be read now", 1)
}
