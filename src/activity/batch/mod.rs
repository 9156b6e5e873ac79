//! `POST /events/batch`: many events in, a receipt for each out.
//!
//! [`take`] reads events of any format, by a [`ReadEvent`], and answers with their receipts; [`Intake`] takes one event.

mod intake;
mod reading;
mod receipts;
mod taking;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use highwater_kafka::Context;
use highwater_web::{
    auth::Grant,
    http::{
        CorrelationId, JSON, ManyBody, NDJSON, Parameters, Problem, allow_pauses, is_media_type,
        reserve_memory,
    },
};
use serde_json::value::RawValue;
use sync_wrapper::SyncStream;
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

pub(super) use intake::{Intake, IntakeOutcome};
pub(super) use reading::ReadEvent;
use receipts::{Format, Receipts, Wanted};
use taking::{Items, Taking, TakingProgress, WINDOW_BYTES};

use super::{Api, answers::published, formats::cloud_event, request::AllowedTypes};
use crate::store::ActivityEvent;

/// The bounds of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most events of an array.
    pub max_events: usize,
    /// The most bytes of an array.
    pub max_bytes: usize,
    /// How long a stream of events may pause.
    pub pause: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 10_000, max_bytes: 1 << 20, pause: Duration::from_secs(60) }
    }
}

/// The parts of a request: its query, its `X-Correlation-Id` and its body.
pub(super) type PostedMany = (String, Option<HeaderValue>, Result<ManyBody, Problem>);

/// `POST /events/batch`: 207 with a receipt for each event, in order.
pub(super) async fn batch(
    api: Arc<Api>,
    grant: Grant,
    content_type: Option<HeaderValue>,
    posted: PostedMany,
) -> Response {
    let is_batch = |value: HeaderValue| is_media_type(value.as_bytes(), cloud_event::BATCH);
    let read = if content_type.is_some_and(is_batch) { cloud_event::read } else { read_event };
    let (rejections, client) = (Arc::clone(&api.rejections), grant.clone());
    take(api, grant, posted, read).await.unwrap_or_else(|problem| {
        rejections.note(&client, None, &problem);
        problem.into_response()
    })
}

/// An event as `POST /events/generate` takes it.
fn read_event(api: &Api, text: &[u8]) -> Result<ActivityEvent, Problem> {
    published::read(text, AllowedTypes::Only(&api.config.event_types), api.limits.max_depth)
}

/// Takes events of that format, and answers with their receipts.
///
/// # Errors
///
/// The batch itself cannot be read.
pub(super) async fn take(
    api: Arc<Api>,
    grant: Grant,
    (query, correlation, body): PostedMany,
    read: ReadEvent,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(&query);
    let wanted = parameters.parsed("receipts", |text| match text {
        "all" => Ok(Wanted::All),
        "errors" => Ok(Wanted::Errors),
        _ => Err("must be all or errors"),
    });
    parameters.finish()?;
    let (format, items) = match body? {
        ManyBody::Whole(body) => {
            let items = items_of(&body, &api)?;
            (Format::Object, Items::Array(items.into_iter().enumerate()))
        }
        ManyBody::Lines(lines) => (Format::Lines, Items::Lines(lines)),
    };
    reserve_memory(WINDOW_BYTES)?;
    allow_pauses(api.config.batch.pause);
    let given = correlation.as_ref().and_then(CorrelationId::from_header);
    let context = given.as_ref().map(|given| Context::correlated(given.as_str())).unwrap_or_default();
    let taking = Taking {
        read,
        items,
        receipts: Receipts::new(format, wanted.unwrap_or_default()),
        patience: api.config.batch.pause,
        progress: TakingProgress::new(),
        intake: Intake { api, grant, context },
    };
    let chunks = stream::unfold(taking, async |mut taking| {
        let chunk = taking.chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), taking))
    });
    let mut response = warp::reply::stream(SyncStream::new(chunks)).into_response();
    *response.status_mut() = StatusCode::MULTI_STATUS;
    let content_type = if format == Format::Lines { NDJSON } else { JSON };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// The texts of an array's items. They are read one by one later: one that is no event says nothing about the others.
fn items_of(body: &Bytes, api: &Api) -> Result<Vec<Bytes>, Problem> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::bad_request("the body must be a JSON array of events"),
        _ => Problem::bad_request(format!("the body is not JSON: {error}")),
    })?;
    let most = api.config.batch.max_events;
    if items.len() > most {
        let detail = format!("the batch has more than {most} events; NDJSON has no such bound");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(items.into_iter().map(|item| body.slice_ref(item.get().as_bytes())).collect())
}
