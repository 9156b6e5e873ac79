//! Listings, streamed: memory does not grow with the answer, and a slow reader holds nothing up.

use std::{ops::Range, sync::Arc, vec};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use highwater_web::http::{JSON, NDJSON, Problem, prefers_ndjson};
use sync_wrapper::SyncStream;
use thiserror::Error;
use warp::{
    Reply,
    http::{HeaderValue, header},
    reply::Response,
};

use super::{
    super::{
        Api, Coverage,
        coverage::PARTITIONS,
        selection::{Scope, Selection},
    },
    crowded, store_is_away,
    turns::{Crowded, Turn, Turns},
};
use crate::store::{Event, EventStore, Position, Query, StoreError, Stored};

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
pub(in super::super) async fn list(api: &Arc<Api>, asked: Asked) -> Response {
    answer(api, asked).await.unwrap_or_else(Reply::into_response)
}

async fn answer(api: &Arc<Api>, asked: Asked) -> Result<Response, Problem> {
    let Asked { scope, form, path, query, accept } = asked;
    let selection = Selection::read(&scope, &query, api.run)?;
    let lines = accept.is_some_and(|accept| prefers_ndjson(accept.as_bytes()));

    let before = api.coverage();
    let end = api.store.end().await.map_err(Unread::from)?;
    let mut reading = Reading {
        store: Arc::clone(&api.store),
        turns: Arc::clone(&api.turns),
        query: selection.query.clone(),
        // What comes later than the end is not part of it.
        rest: Some(selection.within(end)),
        page: Vec::new().into_iter(),
        looks: Looks::None,
        turn: None,
    };
    // Where a page ends is told before its first byte: its events are gathered, which copies none.
    let rest = match selection.limit {
        Some(limit) => reading.gather(limit).await?,
        None => None,
    };
    let mut listing = Listing::new(reading, &scope, form, lines);
    let first = listing.piece().await?.unwrap_or_default();
    let coverage = before.until(&api.coverage());
    let mut response = if listing.is_complete() {
        Response::new(first.into())
    } else {
        // What is read from now on is of later than the head says.
        let told = listing.reading.rest.is_some().then(|| (coverage.clone(), Arc::clone(api)));
        if told.is_some() {
            api.turns.admit().map_err(Unread::from)?;
        }
        listing.reading.looks = Looks::Answering;
        let others = stream::try_unfold(listing, move |mut listing| {
            let told = told.as_ref().filter(|_| listing.is_complete());
            let lost = told.and_then(|(coverage, api)| coverage.lost(&api.coverage()));
            async move {
                let piece = match lost {
                    None => listing.piece().await,
                    Some(lost) => Err(Unread::Lost(lost)),
                };
                let piece = piece.inspect_err(|error| log::error!("an answer is broken off: {error}"))?;
                Ok::<_, Unread>(piece.map(|piece| (piece, listing)))
            }
        });
        let whole = stream::once(std::future::ready(Ok(first))).chain(others);
        warp::reply::stream(SyncStream::new(whole)).into_response()
    };
    let headers = response.headers_mut();
    let content_type = if lines { NDJSON } else { JSON };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(PARTITIONS, coverage.value());
    if let (Some(limit), Some(rest)) = (selection.limit, rest) {
        let link = selection.next_link(&scope, &path, limit, &rest, api.run);
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// Why a listing does not go on.
#[derive(Debug, Error)]
enum Unread {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many others are under way")]
    Crowded,
    /// What the answer's head promises is not all here any more.
    #[error("partitions went to another instance meanwhile: {0}")]
    Lost(Coverage),
}

impl From<Crowded> for Unread {
    fn from(_: Crowded) -> Self {
        Self::Crowded
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Store(error) => store_is_away(&error),
            Unread::Crowded | Unread::Lost(_) => crowded(),
        }
    }
}

/// Events in their order, as the store hands them out.
struct Reading {
    store: Arc<dyn EventStore>,
    turns: Arc<Turns>,
    query: Query,
    /// The places that are still to be read.
    rest: Option<Range<Position>>,
    page: vec::IntoIter<Arc<Stored>>,
    looks: Looks,
    /// For the look that is under way, and what is made of it.
    turn: Option<Turn>,
}

/// How often the store was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// Not at all: the first look is free.
    None,
    /// Before the answer begins: there is time to refuse it.
    Some,
    /// The answer has begun.
    Answering,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Arc<Stored>>, Unread> {
        loop {
            if let Some(event) = self.page.next() {
                return Ok(Some(event));
            }
            let Some(rest) = self.rest.take() else { return Ok(None) };
            self.page = self.look(rest, READ_AHEAD).await?.into_iter();
        }
    }

    /// The store's next page. What it took much to find comes after others had their turn: a query that matches
    /// nothing would else keep its thread to itself until it has seen the whole store.
    async fn look(&mut self, rest: Range<Position>, limit: usize) -> Result<Vec<Arc<Stored>>, Unread> {
        self.turn = None;
        if self.looks != Looks::None {
            tokio::task::yield_now().await;
        }
        match self.looks {
            Looks::None => self.looks = Looks::Some,
            Looks::Some => self.turn = Some(self.turns.soon().await?),
            Looks::Answering => self.turn = self.turns.next().await,
        }
        let page = self.store.read(&self.query, rest, limit).await?;
        self.rest = page.rest;
        Ok(page.events)
    }

    /// Narrows the reading to its next `limit` events, and tells where those after them are.
    async fn gather(&mut self, limit: usize) -> Result<Option<Range<Position>>, Unread> {
        let mut events = Vec::new();
        while events.len() < limit
            && let Some(rest) = self.rest.take()
        {
            events.extend(self.look(rest, limit - events.len()).await?);
        }
        self.turn = None;
        self.page = events.into_iter();
        Ok(self.rest.take())
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
    async fn piece(&mut self) -> Result<Option<Bytes>, Unread> {
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
        self.reading.turn = None;
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
