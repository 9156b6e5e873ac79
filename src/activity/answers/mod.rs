//! The answers of the service, one file per kind.

pub(super) mod concurrency_limit;
pub(super) mod erasure;
pub(super) mod event;
pub(super) mod listing;
pub(super) mod published;

use highwater_web::{http::Problem, sampler::Sampler};

use crate::store::StoreError;

/// 503: the limit of concurrent listings is reached.
pub(super) fn overloaded() -> Problem {
    Problem::unavailable("too many listings are under way; with filters or a limit one takes less", 1)
}

/// The reads that fail while the store is away; one a second is told.
static FAILED_READS: Sampler = Sampler::new(1);

/// 503: the store is unavailable. The log has the reason.
pub(super) fn store_unavailable(error: &StoreError) -> Problem {
    let sampled = FAILED_READS.sample();
    if sampled.is_logged {
        log::error!(leftOut = sampled.left_out; "a read failed: {error}");
    }
    Problem::unavailable("the store of processed events cannot be read now", 1)
}
