//! Listings, streamed: memory does not grow with the answer, and a slow reader holds nothing up.

use std::{sync::Arc, vec};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use sync_wrapper::SyncStream;
use warp::{
    Reply,
    http::{HeaderValue, header},
    reply::Response,
};

use super::super::{
    Api,
    selection::{Scope, Selection},
};
use crate::{
    http::{JSON, NDJSON, Problem, prefers_ndjson},
    store::{Event, EventStore, Position, Query, StoreError, Stored},
};

/// How large a piece of an answer grows before it is sent.
const PIECE: usize = 32 * 1024;
/// How many events are asked of the store at a time. They are shared with it, not copied.
const READ_AHEAD: usize = 512;

/// What a listing looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Form {
    /// An array of events, whose payload is called payload.
    Array,
    /// An object with what was asked, the events, whose payload is called metadata, and their count.
    Envelope,
}

/// What a request for a listing says.
#[derive(Debug)]
pub(in super::super) struct Asked {
    pub(in super::super) scope: Scope,
    pub(in super::super) form: Form,
    pub(in super::super) path: String,
    pub(in super::super) query: String,
    pub(in super::super) accept: Option<HeaderValue>,
}

/// `GET /events/processed`, `/api/events`, `/api/events/user/{userId}`, `/api/events/type/{eventType}`.
pub(in super::super) async fn list(api: &Api, asked: Asked) -> Response {
    answer(api, asked).await.unwrap_or_else(Reply::into_response)
}

async fn answer(api: &Api, asked: Asked) -> Result<Response, Problem> {
    let Asked { scope, form, path, query, accept } = asked;
    let selection = Selection::read(&scope, &query, api.run)?;
    let lines = accept.is_some_and(|accept| prefers_ndjson(accept.as_bytes()));
    let away = |error| super::store_is_away(&error);

    let until = api.store.end().await.map_err(away)?;
    let mut reading = Reading {
        store: Arc::clone(&api.store),
        query: selection.query.clone(),
        next: Some(selection.start),
        until,
        page: Vec::new().into_iter(),
    };
    // Where a page ends is told before its first byte: its events are gathered, which copies none.
    let next = match selection.limit {
        Some(limit) => reading.gather(limit).await.map_err(away)?,
        None => None,
    };
    let mut listing = Listing::new(reading, &scope, form, lines);
    let first = listing.piece().await.map_err(away)?.unwrap_or_default();
    let mut response = if listing.is_complete() {
        Response::new(first.into())
    } else {
        let others = stream::try_unfold(listing, |mut listing| async move {
            let piece = listing.piece().await.inspect_err(|error| {
                log::error!("an answer is broken off: {error}");
            })?;
            Ok::<_, StoreError>(piece.map(|piece| (piece, listing)))
        });
        let whole = stream::once(std::future::ready(Ok(first))).chain(others);
        warp::reply::stream(SyncStream::new(whole)).into_response()
    };
    let headers = response.headers_mut();
    let content_type = if lines { NDJSON } else { JSON };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if let (Some(limit), Some(next)) = (selection.limit, next) {
        let link = selection.next_link(&scope, &path, limit, &api.run.seal(next));
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// Events in their order, as the store hands them out.
struct Reading {
    store: Arc<dyn EventStore>,
    query: Query,
    next: Option<Position>,
    /// The end as it was when the listing began: what comes later is not part of it.
    until: Position,
    page: vec::IntoIter<Arc<Stored>>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Arc<Stored>>, StoreError> {
        loop {
            if let Some(event) = self.page.next() {
                return Ok(Some(event));
            }
            let Some(from) = self.next else { return Ok(None) };
            self.page = self.read(from, READ_AHEAD).await?.into_iter();
        }
    }

    /// The store's next page, and where to go on after it.
    async fn read(&mut self, from: Position, limit: usize) -> Result<Vec<Arc<Stored>>, StoreError> {
        let page = self.store.read(&self.query, from, self.until, limit).await?;
        self.next = page.next;
        if page.next.is_some() && page.events.len() < limit {
            // Much was looked at for little. Before that is done again it is the turn of others: a query that matches
            // nothing would else keep its thread to itself until it has seen the whole store.
            tokio::task::yield_now().await;
        }
        Ok(page.events)
    }

    /// Narrows the reading to its next `limit` events, and tells where those after them begin.
    async fn gather(&mut self, limit: usize) -> Result<Option<Position>, StoreError> {
        let mut events = Vec::new();
        while let Some(from) = self.next.filter(|_| events.len() < limit) {
            events.extend(self.read(from, limit - events.len()).await?);
        }
        self.page = events.into_iter();
        Ok(self.next.take())
    }
}

/// A listing on its way out.
struct Listing {
    reading: Reading,
    buffer: BytesMut,
    lines: bool,
    form: Form,
    count: u64,
    complete: bool,
}

impl Listing {
    fn new(reading: Reading, scope: &Scope, form: Form, lines: bool) -> Self {
        let mut buffer = BytesMut::new();
        if !lines {
            match form {
                Form::Array => buffer.extend_from_slice(b"["),
                Form::Envelope => buffer.extend_from_slice(opening(scope).as_bytes()),
            }
        }
        Self { reading, buffer, lines, form, count: 0, complete: false }
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next piece; `None` after the last one.
    async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.complete {
            return Ok(None);
        }
        if self.count > 0 {
            // A long answer: its pieces need not grow from nothing each time.
            self.buffer.reserve(PIECE + PIECE / 8);
        }
        while self.buffer.len() < PIECE {
            match self.reading.next().await? {
                Some(event) => self.add(&event),
                None => {
                    self.close();
                    break;
                }
            }
        }
        Ok(Some(self.buffer.split().freeze()))
    }

    fn add(&mut self, event: &Event) {
        if self.count > 0 && !self.lines {
            self.buffer.extend_from_slice(b",");
        }
        self.count += 1;
        match self.form {
            Form::Array => self.buffer.extend_from_slice(event.json()),
            Form::Envelope => {
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
        match self.form {
            _ if self.lines => {}
            Form::Array => self.buffer.extend_from_slice(b"]"),
            // The count stands last: only now is it known how many were sent.
            Form::Envelope => {
                self.buffer.extend_from_slice(format!("],\"count\":{}}}", self.count).as_bytes());
            }
        }
    }
}

/// The head of an envelope: what was asked for, as it was asked.
fn opening(scope: &Scope) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match scope {
        Scope::All => "{\"events\":[".to_owned(),
        Scope::User(user_id) => format!("{{\"userId\":{},\"events\":[", text(user_id)),
        Scope::Type(event_type) => format!("{{\"eventType\":{},\"events\":[", text(event_type)),
    }
}
