//! The requests of a connection that has several at a time: HTTP/2 (RFC 9113).
//!
//! Each has deadlines and memory of its own, like a connection of HTTP/1.1; they last until all of its answer has left. The
//! connection itself is idle without requests. Its one timer serves all of them.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::{Request, Response, body::Incoming};
use tokio::time::Instant;

use super::{
    current_request::no_memory,
    deadlines::{ConnectionDeadlines, Phase},
    response_body::ResponseBody,
    service::{ConnectionContext, GuardedService, ResponseFuture},
    tree::Tree,
};

/// The most requests at one time; RFC 9113 has clients count on a hundred (section 6.5.2).
pub(super) const MOST: u32 = 100;

/// The requests that are under way on a connection.
#[derive(Debug)]
pub(super) struct Streams {
    connection: Arc<ConnectionDeadlines>,
    open: Mutex<Vec<Weak<ConnectionDeadlines>>>,
    leaving: AtomicBool,
}

impl Streams {
    /// The requests of that connection, which has none yet.
    pub(super) fn of(connection: &Arc<ConnectionDeadlines>) -> Arc<Self> {
        let connection = Arc::clone(connection);
        Arc::new(Self { connection, open: Mutex::default(), leaving: AtomicBool::new(false) })
    }

    /// The deadlines of a new request, and whether there is memory for it.
    fn begin(self: &Arc<Self>) -> (Arc<ConnectionDeadlines>, bool) {
        let mut open = self.open();
        open.retain(|stream| stream.strong_count() > 0);
        self.connection.stream_began();
        let (stream, is_there) = self.connection.stream(OpenStream(Arc::clone(self)));
        let stream = Arc::new(stream);
        open.push(Arc::downgrade(&stream));
        (stream, is_there)
    }

    /// The connection takes no more requests after its last answer.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.connection.wake();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The time at which the first of them is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open().iter().filter_map(|stream| stream.upgrade()?.due()).min()
    }

    /// Ends streams that have lasted too long. Returns whether one of them is a stalled reader, which ends the connection.
    pub(super) fn look(&self) -> bool {
        let streams: Vec<_> = self.open().iter().filter_map(Weak::upgrade).collect();
        let mut stalled = false;
        for stream in streams {
            match stream.overdue() {
                Some(Phase::Stalled) => stalled = true,
                Some(Phase::Overdue) => stream.wake(),
                _ => {}
            }
        }
        stalled
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<ConnectionDeadlines>>> {
        // Each change leaves it whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. It is dropped when all of its answer has left.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<Streams>);

impl OpenStream {
    /// The deadlines of its connection.
    pub(super) fn connection(&self) -> &ConnectionDeadlines {
        &self.0.connection
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.connection.stream_ended();
    }
}

/// The filter tree behind a connection, the same for all of its requests.
pub(super) struct StreamService {
    service: GuardedService,
    streams: Arc<Streams>,
}

impl StreamService {
    pub(super) fn new(tree: Tree, connection: Arc<ConnectionContext>, streams: Arc<Streams>) -> Self {
        Self { service: GuardedService::new(tree, connection), streams }
    }
}

impl hyper::service::Service<Request<Incoming>> for StreamService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (deadlines, is_there) = self.streams.begin();
        let context = self.service.connection.of_stream(deadlines, &self.streams);
        self.service.answer(request, Arc::new(context), (!is_there).then(no_memory))
    }
}
