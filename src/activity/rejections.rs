//! The latest refusals: `GET /rejections`. They explain why an event that a client posted is not here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use highwater_web::{
    auth::Grant,
    http::{FieldError, Parameters, Problem, RefusalListener, TurnedAway, answer},
    timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;
use warp::{Reply, http::StatusCode, reply::Response};

use super::{faults::EVENT_ID, paths::takes_events};

/// The most refusals of events that are kept, and of one listing.
pub(super) const KEPT: usize = 1_000;
/// The most refusals of requests that no route saw.
const KEPT_REQUESTS: usize = 250;
/// The most faults of one, and the longest text, in characters.
const MAX_FAULTS: usize = 10;
const MAX_TEXT: usize = 300;

/// The refusals that are kept. The oldest leave first, so that their memory is bounded.
#[derive(Debug, Default)]
pub struct Rejections(Mutex<KeptRejections>);

#[derive(Debug, Default)]
struct KeptRejections {
    /// Those of events, and of batches as a whole.
    events: VecDeque<(u64, Rejection)>,
    /// Those of requests that no route saw. Anyone can make these, so they push no others out.
    requests: VecDeque<(u64, Rejection)>,
    /// The number of refusals so far. Each is kept with its number.
    count: u64,
}

/// An event that was refused, or a request with events.
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
    /// The id of the event, where it has one that can be read.
    pub(super) event_id: Option<String>,
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
    /// How many this instance has refused since its start, those included that are not kept.
    pub(super) count: u64,
}

impl Rejection {
    fn new(client: Option<&Arc<str>>, correlation_id: Option<&str>, problem: &Problem) -> Self {
        let faults = problem.errors().iter().take(MAX_FAULTS);
        Self {
            at: timestamp::now(),
            client: client.cloned(),
            correlation_id: correlation_id.map(str::to_owned),
            event_id: problem.text_of(EVENT_ID).map(str::to_owned),
            status: problem.status().as_u16(),
            detail: shortened(problem.detail()),
            errors: faults
                .map(|fault| FieldError::new(shortened(&fault.field), shortened(&fault.message)))
                .collect(),
        }
    }
}

impl KeptRejections {
    fn add_event(&mut self, rejection: Rejection) {
        self.count += 1;
        self.events.truncate(KEPT - 1);
        self.events.push_front((self.count, rejection));
    }

    fn add_request(&mut self, rejection: Rejection) {
        self.count += 1;
        self.requests.truncate(KEPT_REQUESTS - 1);
        self.requests.push_front((self.count, rejection));
    }

    /// The newest, so many at most.
    fn newest(&self, limit: usize) -> Vec<Rejection> {
        let (mut events, mut requests) = (self.events.iter().peekable(), self.requests.iter().peekable());
        let number = |next: Option<&&(u64, Rejection)>| next.map(|(number, _)| *number);
        let newest = std::iter::from_fn(|| match number(events.peek()) > number(requests.peek()) {
            true => events.next(),
            false => requests.next(),
        });
        newest.take(limit).map(|(_, rejection)| rejection.clone()).collect()
    }
}

impl Rejections {
    /// Notes that an event was refused, or a batch as a whole.
    pub(super) fn note(&self, grant: &Grant, correlation_id: Option<&str>, problem: &Problem) {
        self.kept().add_event(Rejection::new(grant.client(), correlation_id, problem));
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
        let kept = self.kept();
        let recent = RecentRejections { rejections: kept.newest(limit.unwrap_or(KEPT)), count: kept.count };
        drop(kept);
        answer(StatusCode::OK, &recent)
    }

    fn kept(&self) -> MutexGuard<'_, KeptRejections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefusalListener for Rejections {
    fn turned_away(&self, request: &TurnedAway<'_>) {
        if takes_events(request.method, request.path) {
            let rejection = Rejection::new(request.client, request.correlation_id, request.problem);
            self.kept().add_request(rejection);
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
