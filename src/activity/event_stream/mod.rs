//! `GET /events/stream`: the events as they are stored, as server-sent events.
//!
//! ```text
//! store ─▶ Tail: one task, messages written once ─▶ seats of the readers that have caught up
//!       └▶ Reader: pages, from its cursor on, up to the messages that the tail keeps
//! ```

mod message;
mod reader;
mod tail;

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::ready,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use highwater_web::{
    auth::Grant,
    http::{EVENT_STREAM, Problem, allow_pauses, extend_deadline},
};
use sync_wrapper::SyncStream;
use tokio::time::timeout;
use warp::{
    Reply,
    http::{HeaderName, HeaderValue, header},
    reply::Response,
};

use super::{
    Api, ConcurrencyLimit,
    answers::{concurrency_limit::Permit, store_unavailable},
    coverage::PARTITIONS,
    selection::Selection,
};
use crate::store::{Positions, StoreError};
pub(super) use message::{End, Gap};
use reader::{HEARTBEAT, Reader};
use tail::Tail;

/// The longest time for which a stream waits to begin while an instance that has just started restores its events. These are
/// not new.
const RESTORING: Duration = Duration::from_secs(10);
/// The number of readers that read the store at a time because they are behind. The listings have a limit of their own.
const READS: usize = 1;

/// One client has at most this part of the places.
const SHARES: usize = 4;

/// Tells nginx to hand on each message at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The open streams of an instance, with the tail and the limits that they share.
pub struct EventStreams {
    max: usize,
    places: Mutex<Places>,
    refused: AtomicU64,
    slow: AtomicU64,
    reads: ConcurrencyLimit,
    tail: Mutex<Option<Arc<Tail>>>,
}

impl EventStreams {
    /// Room for so many at a time.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            places: Mutex::default(),
            refused: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            reads: ConcurrencyLimit::new(READS),
            tail: Mutex::default(),
        }
    }

    /// The number of open streams.
    pub(super) fn open(&self) -> usize {
        self.places().taken
    }

    /// The number of streams that were refused because there were too many.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The number of streams that were ended because their readers were too slow.
    pub(super) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// A place for one more, of that client where it is known.
    fn enter(self: &Arc<Self>, client: Option<&str>) -> Result<StreamSlot, Problem> {
        let mut places = self.places();
        let own = client.and_then(|client| places.of.get(client)).copied().unwrap_or_default();
        if places.taken >= self.max || own >= self.max.div_ceil(SHARES) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(too_many());
        }
        places.taken += 1;
        let client = client.map(Box::from);
        if let Some(client) = &client {
            places.of.insert(Box::clone(client), own + 1);
        }
        Ok(StreamSlot { streams: Arc::clone(self), client })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tail that the readers share; the first of them begins it.
    async fn tail(&self, api: &Arc<Api>) -> Result<Arc<Tail>, StoreError> {
        if let Some(tail) = self.running() {
            return Ok(tail);
        }
        let coverage = api.coverage();
        let end = api.store.end().await?;
        let mut current = self.current();
        if let Some(tail) = current.iter().find(|tail| !tail.has_ended()) {
            return Ok(Arc::clone(tail));
        }
        let tail = Arc::new(Tail::new(api, coverage, end));
        *current = Some(Arc::clone(&tail));
        let (followed, api) = (Arc::clone(&tail), Arc::clone(api));
        tokio::spawn(async move {
            // Under the lock: a reader that comes now finds the tail running, or none.
            let is_left = || {
                let mut current = api.streams.current();
                let is_left = api.streams.open() == 0;
                if is_left {
                    *current = None;
                }
                is_left
            };
            followed.follow(&api, is_left).await;
        });
        Ok(tail)
    }

    fn running(&self) -> Option<Arc<Tail>> {
        self.current().clone().filter(|tail| !tail.has_ended())
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Tail>>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventStreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventStreams").field("open", &self.open()).finish_non_exhaustive()
    }
}

/// The places of open streams.
#[derive(Debug, Default)]
struct Places {
    taken: usize,
    /// The number of places of each client. A client without places has no entry.
    of: HashMap<Box<str>, usize>,
}

/// The place of an open stream.
struct StreamSlot {
    streams: Arc<EventStreams>,
    client: Option<Box<str>>,
}

impl StreamSlot {
    /// The right to read the store once.
    async fn permit(&self) -> Option<Permit> {
        self.streams.reads.acquire().await
    }

    /// Its stream ends because the reader was too slow.
    fn was_slow(&self) {
        self.streams.slow.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut places = self.streams.places();
        places.taken -= 1;
        if let Some(client) = &self.client
            && let Some(own) = places.of.get_mut(client)
        {
            *own -= 1;
            if *own == 0 {
                places.of.remove(client);
            }
        }
    }
}

/// 503: an id could not be given, so a client that connects again would not go on where it was.
pub(super) fn nothing_restored() -> Problem {
    Problem::unavailable("no partition is restored on this instance", 5)
}

/// 503: there are as many streams as there may be.
pub(super) fn too_many() -> Problem {
    Problem::unavailable("there are too many streams of events", 5)
}

/// `GET /events/stream`.
pub(super) async fn open(
    api: Arc<Api>,
    grant: Grant,
    query: String,
    last_event_id: Option<HeaderValue>,
) -> Response {
    answer(&api, &grant, &query, last_event_id.as_ref()).await.unwrap_or_else(Reply::into_response)
}

async fn answer(
    api: &Arc<Api>,
    grant: &Grant,
    query: &str,
    last_event_id: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    let mut selection = Selection::of_stream(query, last_event_id)?.within_grant(grant)?;
    let slot = api.streams.enter(grant.limited_as())?;
    until_restored(api).await;
    let covered = api.coverage();
    if !api.store.is_shared() && covered.restored().is_empty() {
        return Err(nothing_restored());
    }
    if let Some(cursor) = &mut selection.cursor {
        // Each entry would be part of each id.
        cursor.0.retain(|partition, _| covered.may_be_of_topic(*partition));
    }
    let tail = api.streams.tail(api).await.map_err(|error| store_unavailable(&error))?;
    let cursor = match selection.cursor {
        None => tail.end(),
        Some(cursor) => Arc::new(
            not_beyond_the_end(api, cursor, &tail.end()).await.map_err(|error| store_unavailable(&error))?,
        ),
    };
    allow_pauses(HEARTBEAT);
    let coverage = tail.coverage.value();
    let opening = message::opening(&cursor);
    let reader = Reader::new(Arc::clone(api), tail, slot, selection.query, cursor, grant.expires_in());
    let messages = stream::unfold(reader, async |mut reader| Some((reader.next().await?, reader)));
    let messages = stream::once(ready(opening)).chain(messages).map(Ok::<_, Infallible>);
    let mut response = warp::reply::stream(SyncStream::new(messages)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(PARTITIONS, coverage);
    Ok(response)
}

/// Waits until the instance has restored the partitions of its first assignment, where its store is its own.
async fn until_restored(api: &Api) {
    let Some(membership) = api.operations.memberships.first().filter(|_| !api.store.is_shared()) else {
        return;
    };
    let mut status = membership.status.clone();
    if status.borrow().group.is_restored() {
        return;
    }
    extend_deadline(RESTORING);
    let restored = status.wait_for(|status| status.group.is_restored());
    tokio::select! {
        _ = timeout(RESTORING, restored) => {}
        () = api.shutdown.requested() => {}
    }
}

/// The cursor, with positions up to the end at most. No instance can have given out one beyond the end: it is of another topic
/// of that name. Such a cursor would pass over all events of this topic until it has as many.
async fn not_beyond_the_end(
    api: &Api,
    mut cursor: Positions,
    end: &Positions,
) -> Result<Positions, StoreError> {
    let is_beyond = |partition: &i32, position: i64| end.0.get(partition).is_some_and(|end| position > *end);
    if !cursor.0.iter().any(|(partition, position)| is_beyond(partition, *position)) {
        return Ok(cursor);
    }
    // Another instance may be ahead of this one: in a store of all it has told so, in memory it is not beyond the log's end.
    let stored = api.store.end().await?;
    let logs = if api.store.is_shared() { Default::default() } else { api.log_ends() };
    for (partition, position) in &mut cursor.0 {
        if is_beyond(partition, *position) {
            let ends =
                stored.0.get(partition).into_iter().chain(logs.get(partition)).chain(end.0.get(partition));
            *position = ends.copied().max().map_or(*position, |end| end.min(*position));
        }
    }
    Ok(cursor)
}
