//! The body of a request, and its rest where the answer came before all of it was read.
//!
//! The next request on a connection begins after the end of this one's body. So a short rest is read before the answer is
//! given. With a longer rest, the answer says that it is the connection's last: RFC 9112, sections 9.3 and 9.6. Otherwise a
//! client would send its next request into a connection that closes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Request,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::EXPECT,
};
use tokio::time::{Sleep, sleep};

use super::deadlines::ConnectionDeadlines;

/// The longest rest that is read for the sake of the next request, in bytes.
const LONGEST: usize = 256 * 1024;
/// The longest wait for the rest.
const PATIENCE: Duration = Duration::from_secs(1);

/// The body of a request. Dropped before its end, it leaves its rest behind.
pub(super) struct RequestBody {
    body: Option<Incoming>,
    /// The client sends nothing until it is told to go on, which the first reading does.
    asks_first: bool,
    rest: UnreadBody,
    deadlines: Arc<ConnectionDeadlines>,
}

impl RequestBody {
    /// The request with a body that leaves its rest here.
    pub(super) fn within(
        request: Request<Incoming>,
        rest: &UnreadBody,
        deadlines: &Arc<ConnectionDeadlines>,
    ) -> Request<Self> {
        let asks_first = request.headers().contains_key(EXPECT);
        let (rest, deadlines) = (rest.clone(), Arc::clone(deadlines));
        request.map(|body| Self { body: Some(body), asks_first, rest, deadlines })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.asks_first = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        match frame {
            Poll::Ready(None | Some(Err(_))) => self.body = None,
            Poll::Ready(Some(Ok(_))) => self.deadlines.body_came(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
        {
            let unread = Remainder { body, asks_first: self.asks_first, left: LONGEST, until: None };
            *self.rest.unread() = Some(unread);
        }
    }
}

/// The unread remainder of the last body on a connection.
#[derive(Clone, Default)]
pub(super) struct UnreadBody(Arc<Mutex<Option<Remainder>>>);

/// Discards the unread rest when it is dropped.
pub(super) struct DropUnread(UnreadBody);

impl Drop for DropUnread {
    fn drop(&mut self) {
        self.0.drop_unread();
    }
}

struct Remainder {
    body: Incoming,
    asks_first: bool,
    /// The number of bytes of it that may still be read.
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl UnreadBody {
    /// Reads the rest of the body. Returns whether that was all, so that the connection can go on.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut unread = self.unread();
        let Some(body) = unread.as_mut() else { return Poll::Ready(true) };
        let all = std::task::ready!(body.poll_read(context));
        *unread = None;
        Poll::Ready(all)
    }

    /// Reads no more: the connection ends.
    pub(super) fn drop_unread(&self) {
        *self.unread() = None;
    }

    /// Discards the unread rest when the value is dropped: the answer then ended before the request's body.
    pub(super) fn until_answered(&self) -> DropUnread {
        DropUnread(self.clone())
    }

    fn unread(&self) -> MutexGuard<'_, Option<Remainder>> {
        // The content is only ever replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remainder {
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.asks_first || self.body.size_hint().lower() > self.left as u64 {
            return Poll::Ready(false);
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Ok(frame))) => {
                    match self.left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(false),
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Pending => {
                    let until = self.until.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                    return until.as_mut().poll(context).map(|()| false);
                }
            }
        }
    }
}
