//! `POST /events/batch`: many events in, a receipt for each out.
//!
//! [`batch()`] reads events of any format, by a [`ReadEvent`], and answers with their receipts; [`Intake`] takes one event.

mod intake;
mod reading;
mod receipts;
mod taking;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use highwater_web::{
    auth::Grant,
    http::{ManyBody, Parameters, Problem, allow_pauses, reserve_memory},
};
use serde_json::value::RawValue;
use sync_wrapper::SyncStream;
use warp::{
    Reply,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    reply::Response,
};

pub(super) use intake::{Intake, IntakeOutcome};
pub(super) use reading::ReadEvent;
use receipts::{ReceiptFilter, ReceiptFormat, Receipts};
use taking::{Items, Taking, TakingProgress, WINDOW_BYTES};

use super::{
    Api,
    answers::published,
    formats::cloud_event::{self, Mode},
    request::AllowedTypes,
    schemas::Judged,
};

/// The bounds of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedBatchLimits {
    /// The most events of an array.
    pub max_events: usize,
    /// The most bytes of an array.
    pub max_bytes: usize,
    /// The longest pause of a stream of events.
    pub pause: Duration,
}

impl Default for PostedBatchLimits {
    fn default() -> Self {
        Self { max_events: 10_000, max_bytes: 1 << 20, pause: Duration::from_secs(60) }
    }
}

/// The parts of a request: its query, its headers and its body.
pub(super) type PostedMany = (String, HeaderMap, Result<ManyBody, Problem>);

/// `POST /events/batch`: 207 with a receipt for each event, in order.
pub(super) async fn batch(api: Arc<Api>, grant: Grant, (query, headers, body): PostedMany) -> Response {
    let intake = Intake::new(api, grant, headers.get("x-correlation-id"));
    match begin(&intake.api, &query, &headers, body) {
        Ok((read, items, receipts)) => answer(intake, read, items, receipts),
        Err(problem) => {
            intake.note(&problem);
            problem.into_response()
        }
    }
}

/// Reads the parts of a request that concern all events of a batch.
///
/// # Errors
///
/// The batch itself cannot be read.
fn begin(
    api: &Api,
    query: &str,
    headers: &HeaderMap,
    body: Result<ManyBody, Problem>,
) -> Result<(ReadEvent, Items, Receipts), Problem> {
    let mut parameters = Parameters::new(query);
    let wanted = parameters.parsed("receipts", |text| match text {
        "all" => Ok(ReceiptFilter::All),
        "errors" => Ok(ReceiptFilter::Errors),
        _ => Err("must be all or errors"),
    });
    parameters.finish()?;
    let read = reader(headers)?;
    let (format, items) = match body? {
        ManyBody::Whole(body) => {
            let items = items_of(&body, api)?;
            (ReceiptFormat::Object, Items::Array(items.into_iter().enumerate()))
        }
        ManyBody::Lines(lines) => (ReceiptFormat::Lines, Items::Lines(lines)),
    };
    reserve_memory(WINDOW_BYTES)?;
    Ok((read, items, Receipts::new(format, wanted.unwrap_or_default())))
}

/// The reader for the events of a batch with these headers.
fn reader(headers: &HeaderMap) -> Result<ReadEvent, Problem> {
    let version = headers.get(cloud_event::VERSION_HEADER);
    match Mode::of(headers.get(header::CONTENT_TYPE), version) {
        Some(Mode::Batched) => Ok(cloud_event::read),
        Some(Mode::Structured) => Err(cloud_event::one_elsewhere()),
        Some(Mode::Binary) => Err(cloud_event::no_binary_batch()),
        // The version may be missing.
        None if headers.keys().any(|name| name.as_str().starts_with("ce-")) => {
            Err(cloud_event::no_binary_batch())
        }
        None => Ok(read_event),
    }
}

/// An event as `POST /events/generate` takes it.
fn read_event(api: &Api, text: &[u8]) -> Result<Judged, Problem> {
    published::read(api, text, AllowedTypes::Only(&api.config.event_types))
}

/// Takes the events while the receipts are read.
fn answer(intake: Intake, read: ReadEvent, items: Items, receipts: Receipts) -> Response {
    let content_type = receipts.media_type();
    let patience = intake.api.config.batch.pause;
    allow_pauses(patience);
    let taking = Taking { intake, read, items, receipts, patience, progress: TakingProgress::new() };
    let chunks = stream::unfold(taking, async |mut taking| {
        let chunk = taking.chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), taking))
    });
    let mut response = warp::reply::stream(SyncStream::new(chunks)).into_response();
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
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
