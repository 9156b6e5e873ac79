//! The body of an answer on its way to the client.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    Response,
    body::{Body, Buf, Bytes, Frame, SizeHint},
};
use warp::reply;

use super::{
    budget::BUFFER,
    deadlines::ConnectionDeadlines,
    observer::Ending,
    packing::Packer,
    request_body::{DropUnread, UnreadBody},
};
use crate::trace::{RequestTrace, within};

/// A name for warp's type of a body, which warp does not export.
pub(super) trait Carries {
    type Body;
}

impl<B> Carries for Response<B> {
    type Body = B;
}

type TreeBody = <reply::Response as Carries>::Body;

/// The body of an answer on its way out. Its pieces are small, since hyper's buffer grows for a large one and never shrinks.
pub(super) struct ResponseBody {
    body: TreeBody,
    /// The rest of a piece: the next pieces.
    rest: Bytes,
    packer: Option<Box<Packer>>,
    /// Dropped when the answer has ended.
    _ending: Option<Box<Ending>>,
    /// The trace, whose span ends with the body.
    trace: RequestTrace,
    deadlines: Arc<ConnectionDeadlines>,
    /// Dropped after `body`, which may still have the request's.
    _unread: DropUnread,
}

impl ResponseBody {
    pub(super) fn new(
        body: TreeBody,
        (packer, ending): (Option<Packer>, Option<Ending>),
        trace: RequestTrace,
        deadlines: &Arc<ConnectionDeadlines>,
        unread: &UnreadBody,
    ) -> Self {
        let (deadlines, _unread) = (Arc::clone(deadlines), unread.until_answered());
        let (packer, _ending) = (packer.map(Box::new), ending.map(Box::new));
        Self { body, rest: Bytes::new(), packer, _ending, trace, deadlines, _unread }
    }

    /// The next piece, packed where that was chosen.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(packer) = &mut self.packer else {
            return poll_data(&mut self.body, context);
        };
        if packer.is_finished() {
            return Poll::Ready(None);
        }
        loop {
            let packed = match poll_data(&mut self.body, context) {
                Poll::Ready(Some(Ok(data))) => packer.add(&data).map(Some),
                Poll::Ready(None) => return Poll::Ready(packer.finish().map_err(Into::into).transpose()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => match packer.flush() {
                    Ok(None) => return Poll::Pending,
                    flushed => flushed,
                },
            };
            match packed {
                Ok(Some(packed)) if packed.is_empty() => {}
                packed => return Poll::Ready(packed.map_err(Into::into).transpose()),
            }
        }
    }
}

type BodyError = Box<dyn Error + Send + Sync>;

/// The next piece of a body; it has no trailers.
fn poll_data(body: &mut TreeBody, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
    let frame = std::task::ready!(Pin::new(body).poll_frame(context));
    Poll::Ready(frame.map(|frame| match frame {
        Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
        Err(error) => Err(error.into()),
    }))
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        if !self.rest.is_empty() {
            let most = self.rest.len().min(BUFFER);
            let piece = self.rest.split_to(most);
            return Poll::Ready(Some(Ok(Frame::data(Piece::of(piece, &self.deadlines)))));
        }
        if self.deadlines.is_stream() && self.deadlines.is_overdue() {
            return Poll::Ready(Some(Err("the answer's next piece took too long".into())));
        }
        let trace = self.trace.context();
        let poll = || within(trace, || self.poll_piece(context));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                self.deadlines.answer_pending();
                Poll::Pending
            }
            Ok(Poll::Ready(piece)) => {
                self.deadlines.answer_began();
                Poll::Ready(piece.map(|piece| {
                    piece.map(|mut piece| {
                        self.rest = piece.split_off(piece.len().min(BUFFER));
                        Frame::data(Piece::of(piece, &self.deadlines))
                    })
                }))
            }
            // The status has been sent: the only way left is to break the answer off, visibly.
            Err(_) => Poll::Ready(Some(Err("the answer's body panicked".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && self.packer.as_ref().map_or_else(|| self.body.is_end_stream(), |packer| packer.is_finished())
    }

    fn size_hint(&self) -> SizeHint {
        if self.packer.is_some() {
            return SizeHint::new();
        }
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        // The upper bound is never below the lower one.
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(body.lower() + rest);
        hint
    }
}

/// A piece of an answer's body. Among several answers on a connection, it lives until it has left: a client may read one
/// answer and not the others.
pub(super) struct Piece {
    bytes: Bytes,
    stream: Option<Arc<ConnectionDeadlines>>,
}

impl Piece {
    fn of(bytes: Bytes, deadlines: &Arc<ConnectionDeadlines>) -> Self {
        let stream = deadlines.is_stream().then(|| {
            deadlines.piece_given();
            Arc::clone(deadlines)
        });
        Self { bytes, stream }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.piece_left();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.deadlines.answer_ended();
    }
}
