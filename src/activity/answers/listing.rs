//! Listings, streamed: memory does not grow with the answer, and a slow client blocks nothing.

use std::{sync::Arc, vec};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use highwater_web::{
    auth::Grant,
    http::{JSON, NDJSON, Problem, prefers},
};
use sync_wrapper::SyncStream;
use thiserror::Error;
use warp::{
    Reply,
    http::{HeaderValue, header},
    reply::Response,
};

use super::{
    concurrency_limit::{ConcurrencyLimit, Overloaded, Permit},
    overloaded, store_unavailable,
};
use crate::{
    activity::{
        Api, Coverage,
        coverage::PARTITIONS,
        formats::cloud_event,
        selection::{ListingScope, Selection},
    },
    store::{ActivityEvent, EventQuery, EventStore, PAGE_BYTES, Span, StoreError, StoredEvent},
};

/// The size from which a chunk of an answer is sent, in bytes.
const CHUNK: usize = 32 * 1024;
/// The number of events that one read of the store asks for. The store also ends a read by the bytes ([`PAGE_BYTES`]).
const READ_AHEAD: usize = 512;
/// The bytes of JSON at which a page with a limit ends, however many more it may have.
const MAX_COLLECTED: usize = 8 * PAGE_BYTES;

/// The format of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::activity) enum ListingFormat {
    /// An array of events, whose payload is `payload`.
    Array,
    /// An object with the path's filter, the events, whose payload is `metadata`, and their count.
    Envelope,
    /// An array of CloudEvents.
    CloudEvents,
}

/// A request for a listing.
#[derive(Debug)]
pub(in crate::activity) struct ListingRequest {
    pub(in crate::activity) scope: ListingScope,
    pub(in crate::activity) format: ListingFormat,
    pub(in crate::activity) path: String,
    pub(in crate::activity) query: String,
    pub(in crate::activity) accept: Option<HeaderValue>,
    pub(in crate::activity) grant: Grant,
}

/// `GET /events/processed`, `/api/events`, `/api/events/user/{userId}`, `/api/events/type/{eventType}`.
pub(in crate::activity) async fn list(api: &Arc<Api>, request: ListingRequest) -> Response {
    answer(api, request).await.unwrap_or_else(Reply::into_response)
}

async fn answer(api: &Arc<Api>, request: ListingRequest) -> Result<Response, Problem> {
    let ListingRequest { scope, format, path, query, accept, grant } = request;
    let selection = Selection::read(&scope, &query)?.within_grant(&grant)?;
    let prefers =
        |media_type| accept.as_ref().is_some_and(|accept| prefers(accept.as_bytes(), media_type, JSON));
    let format = if prefers(cloud_event::BATCH) { ListingFormat::CloudEvents } else { format };
    let lines = format != ListingFormat::CloudEvents && prefers(NDJSON);

    let before = api.coverage();
    let end = api.store.end().await.map_err(ListingError::from)?;
    let mut reader = EventReader {
        store: Arc::clone(&api.store),
        limit: Arc::clone(&api.listing_limit),
        query: selection.query.clone(),
        // Events that are admitted later are not part of the listing.
        rest: Some(selection.within(end)),
        page: Vec::new().into_iter(),
        phase: ReadPhase::First,
        permit: None,
    };
    // The head of the answer links to the next page, so the events of a page are collected first. None is copied.
    let rest = match selection.limit {
        Some(limit) => reader.collect(limit).await?,
        None => None,
    };
    let mut listing = ListingBody::new(reader, &scope, format, lines);
    let first = listing.chunk().await?.unwrap_or_default();
    let coverage = before.until(&api.coverage());
    let mut response = if listing.is_complete() {
        Response::new(first.into())
    } else {
        // The rest is read after the head has told the coverage.
        let promised = listing.reader.rest.is_some().then(|| (coverage.clone(), Arc::clone(api)));
        if promised.is_some() {
            api.listing_limit.check().map_err(ListingError::from)?;
        }
        listing.reader.phase = ReadPhase::Streaming;
        let others = stream::try_unfold(listing, move |mut listing| {
            let promised = promised.as_ref().filter(|_| listing.is_complete());
            let lost = promised.and_then(|(coverage, api)| coverage.lost(&api.coverage()));
            async move {
                let chunk = match lost {
                    None => listing.chunk().await,
                    Some(lost) => Err(ListingError::Lost(lost)),
                };
                let chunk = chunk.inspect_err(|error| log::error!("an answer is broken off: {error}"))?;
                Ok::<_, ListingError>(chunk.map(|chunk| (chunk, listing)))
            }
        });
        let whole = stream::once(std::future::ready(Ok(first))).chain(others);
        warp::reply::stream(SyncStream::new(whole)).into_response()
    };
    let headers = response.headers_mut();
    let content_type = match format {
        ListingFormat::CloudEvents => cloud_event::BATCH,
        _ if lines => NDJSON,
        ListingFormat::Array | ListingFormat::Envelope => JSON,
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(PARTITIONS, coverage.value());
    if let (Some(limit), Some(rest)) = (selection.limit, rest) {
        let link = selection.next_link(&scope, &path, limit, &rest);
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// The reason why a listing ends early.
#[derive(Debug, Error)]
enum ListingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many other listings are under way")]
    Overloaded,
    /// Partitions that the answer's head names have left this instance.
    #[error("partitions went to another instance meanwhile: {0}")]
    Lost(Coverage),
}

impl From<Overloaded> for ListingError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<ListingError> for Problem {
    fn from(error: ListingError) -> Self {
        match error {
            ListingError::Store(error) => store_unavailable(&error),
            ListingError::Overloaded | ListingError::Lost(_) => overloaded(),
        }
    }
}

/// Reads the events of a listing from the store, page by page.
struct EventReader {
    store: Arc<dyn EventStore>,
    limit: Arc<ConcurrencyLimit>,
    query: EventQuery,
    /// The part of the store that is still to be read.
    rest: Option<Span>,
    page: vec::IntoIter<Arc<StoredEvent>>,
    phase: ReadPhase,
    /// The permit for the current read and for the work on its events.
    permit: Option<Permit>,
}

/// The phase of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadPhase {
    /// The store was not read yet.
    First,
    /// The answer has not begun and can still be refused.
    Collecting,
    /// The answer has begun.
    Streaming,
}

impl EventReader {
    async fn next(&mut self) -> Result<Option<Arc<StoredEvent>>, ListingError> {
        loop {
            if let Some(event) = self.page.next() {
                return Ok(Some(event));
            }
            let Some(rest) = self.rest.take() else { return Ok(None) };
            self.page = self.read(rest, READ_AHEAD).await?.into_iter();
        }
    }

    /// The next page of the store. The task yields before each further read, as it asks for a permit; without that, a query
    /// that matches nothing would occupy its thread until it has scanned the whole store.
    async fn read(&mut self, rest: Span, limit: usize) -> Result<Vec<Arc<StoredEvent>>, ListingError> {
        self.permit = None;
        self.permit = match self.phase {
            ReadPhase::First => Some(self.limit.acquire_first().await?),
            ReadPhase::Collecting => Some(self.limit.acquire_or_refuse().await?),
            ReadPhase::Streaming => self.limit.acquire().await,
        };
        if self.phase == ReadPhase::First {
            self.phase = ReadPhase::Collecting;
        }
        let page = self.store.read(&self.query, rest, limit).await?;
        self.rest = page.rest;
        Ok(page.events)
    }

    /// Reads the next `limit` events and keeps only them, fewer where they are large. Returns the span after them.
    async fn collect(&mut self, limit: usize) -> Result<Option<Span>, ListingError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while events.len() < limit
            && bytes < MAX_COLLECTED
            && let Some(rest) = self.rest.take()
        {
            let read = self.read(rest, limit - events.len()).await?;
            bytes += read.iter().map(|stored| stored.json().len()).sum::<usize>();
            events.extend(read);
        }
        self.permit = None;
        self.page = events.into_iter();
        Ok(self.rest.take())
    }
}

/// The body of a listing, produced chunk by chunk.
struct ListingBody {
    reader: EventReader,
    buffer: BytesMut,
    lines: bool,
    format: ListingFormat,
    count: u64,
    complete: bool,
}

impl ListingBody {
    fn new(reader: EventReader, scope: &ListingScope, format: ListingFormat, lines: bool) -> Self {
        let mut buffer = BytesMut::new();
        if !lines {
            match format {
                ListingFormat::Array | ListingFormat::CloudEvents => buffer.extend_from_slice(b"["),
                ListingFormat::Envelope => buffer.extend_from_slice(opening(scope).as_bytes()),
            }
        }
        Self { reader, buffer, lines, format, count: 0, complete: false }
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next chunk; `None` after the last one.
    async fn chunk(&mut self) -> Result<Option<Bytes>, ListingError> {
        if self.complete {
            return Ok(None);
        }
        if self.count > 0 {
            // The buffer of a long answer need not grow from nothing for each chunk.
            self.buffer.reserve(CHUNK + CHUNK / 8);
        }
        while self.buffer.len() < CHUNK {
            match self.reader.next().await? {
                Some(event) => self.add(&event),
                None => {
                    self.close();
                    break;
                }
            }
        }
        self.reader.permit = None;
        Ok(Some(self.buffer.split().freeze()))
    }

    fn add(&mut self, event: &ActivityEvent) {
        if self.count > 0 && !self.lines {
            self.buffer.extend_from_slice(b",");
        }
        self.count += 1;
        match self.format {
            ListingFormat::Array => self.buffer.extend_from_slice(event.json()),
            ListingFormat::CloudEvents => cloud_event::push(&mut self.buffer, event),
            ListingFormat::Envelope => {
                let (fields, payload) = event.split();
                self.buffer.extend_from_slice(fields);
                self.buffer.extend_from_slice(b",\"metadata\":");
                self.buffer.extend_from_slice(payload);
                self.buffer.extend_from_slice(b"}");
            }
        }
        if self.lines {
            self.buffer.extend_from_slice(b"\n");
        }
    }

    fn close(&mut self) {
        self.complete = true;
        match self.format {
            _ if self.lines => {}
            ListingFormat::Array | ListingFormat::CloudEvents => self.buffer.extend_from_slice(b"]"),
            // The count is last, since it is known only now.
            ListingFormat::Envelope => {
                self.buffer.extend_from_slice(format!("],\"count\":{}}}", self.count).as_bytes());
            }
        }
    }
}

/// The beginning of an envelope, with the path's filter as it was given.
fn opening(scope: &ListingScope) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match scope {
        ListingScope::All => "{\"events\":[".to_owned(),
        ListingScope::User(user_id) => format!("{{\"userId\":{},\"events\":[", text(user_id)),
        ListingScope::Type(event_type) => format!("{{\"eventType\":{},\"events\":[", text(event_type)),
    }
}
