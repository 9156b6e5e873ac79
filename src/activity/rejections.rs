//! Events that were refused lately: `GET /rejections`. They explain why an event that a client posted is not here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use highwater_web::{
    auth::Grant,
    http::{FieldError, Parameters, Problem, answer},
    timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;
use warp::{Reply, http::StatusCode, reply::Response};

/// The most refusals that are kept.
pub(super) const KEPT: usize = 1_000;
/// The most faults of one, and the longest text, in characters.
const MAX_FAULTS: usize = 10;
const MAX_TEXT: usize = 300;

/// The refusals that are kept. The oldest leave first, so that their memory is bounded.
#[derive(Debug, Default)]
pub struct Rejections(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    recent: VecDeque<Rejection>,
    count: u64,
}

/// An event that was refused.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rejection {
    /// The time.
    #[serde(serialize_with = "timestamp::serialize")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub(super) at: DateTime<Utc>,
    /// The name of the key or the subject of the token; null where nobody is authenticated.
    pub(super) client: Option<Arc<str>>,
    /// The `X-Correlation-Id` of the request, where it had one.
    pub(super) correlation_id: Option<String>,
    /// The status that the client was told.
    pub(super) status: u16,
    /// The reason.
    pub(super) detail: String,
    /// The faults of single fields.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) errors: Vec<FieldError>,
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecentRejections {
    /// The newest first.
    pub(super) rejections: Vec<Rejection>,
    /// How many events this instance has refused since its start, those included that are not kept.
    pub(super) count: u64,
}

impl Rejections {
    /// Notes that an event was refused.
    pub(super) fn note(&self, grant: &Grant, correlation_id: Option<&str>, problem: &Problem) {
        let faults = problem.errors().iter().take(MAX_FAULTS);
        let rejection = Rejection {
            at: timestamp::now(),
            client: grant.client().cloned(),
            correlation_id: correlation_id.map(str::to_owned),
            status: problem.status().as_u16(),
            detail: shortened(problem.detail()),
            errors: faults
                .map(|fault| FieldError::new(shortened(&fault.field), shortened(&fault.message)))
                .collect(),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        kept.recent.truncate(KEPT - 1);
        kept.recent.push_front(rejection);
    }

    /// `GET /rejections`.
    pub(super) fn answer(&self, query: &str) -> Response {
        let mut parameters = Parameters::new(query);
        let limit = parameters.parsed("limit", |text| {
            text.parse().ok().filter(|limit| (1..=KEPT).contains(limit)).ok_or("must be from 1 to 1000")
        });
        if let Err(problem) = parameters.finish() {
            return problem.into_response();
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rejections = kept.recent.iter().take(limit.unwrap_or(KEPT)).cloned().collect();
        let recent = RecentRejections { rejections, count: kept.count };
        drop(kept);
        answer(StatusCode::OK, &recent)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
