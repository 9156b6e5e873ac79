//! The formats of others: each file reads one of them into events of ours.

pub(super) mod cloud_event;
pub(super) mod segment;

use highwater_web::{http::Problem, json::nests_deeper};

use super::{faults::of_event, record::MAX_DEPTH};
use crate::store::ActivityEvent;

/// The event, unless it nests deeper than a record may. Its payload nests deeper than the body that it was made of, so that the
/// bound of a body is not enough: it would be acknowledged, and then set aside.
///
/// # Errors
///
/// 400.
fn not_too_deep(event: ActivityEvent) -> Result<ActivityEvent, Problem> {
    if nests_deeper(event.json(), MAX_DEPTH) {
        let detail = format!("the body nests deeper than {MAX_DEPTH} levels in the payload that it becomes");
        return Err(of_event(event.id(), Problem::bad_request(detail)));
    }
    Ok(event)
}
