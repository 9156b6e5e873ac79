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

use super::{budget::BUFFER, deadlines::ConnectionDeadlines, tree::Answer};

/// Gives warp's type of a body a name, which warp itself does not.
pub(super) trait Carries {
    type Body;
}

impl<B> Carries for Response<B> {
    type Body = B;
}

type TreeBody = <Answer as Carries>::Body;

/// The body of an answer on its way out, in pieces that hyper's buffer need not grow for: it never shrinks again.
pub(super) struct ResponseBody {
    body: TreeBody,
    /// Of a piece what the next ones are.
    rest: Bytes,
    deadlines: Arc<ConnectionDeadlines>,
}

impl ResponseBody {
    pub(super) fn new(body: TreeBody, deadlines: &Arc<ConnectionDeadlines>) -> Self {
        Self { body, rest: Bytes::new(), deadlines: Arc::clone(deadlines) }
    }
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = Box<dyn Error + Send + Sync>;

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
        let poll = || Pin::new(&mut self.body).poll_frame(context);
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                self.deadlines.answer_pending();
                Poll::Pending
            }
            Ok(Poll::Ready(frame)) => {
                self.deadlines.answer_began();
                let frame = frame.map(|frame| {
                    frame.map_err(Into::into).map(|frame| {
                        frame.map_data(|mut data| {
                            self.rest = data.split_off(data.len().min(BUFFER));
                            Piece::of(data, &self.deadlines)
                        })
                    })
                });
                Poll::Ready(frame)
            }
            // The status is long gone: all that is left is to break the answer off, visibly.
            Err(_) => Poll::Ready(Some(Err("the answer's body panicked".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
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

/// A piece of an answer's body. Among several answers on a connection it lasts until it has left: a client may read one of
/// them and not the others.
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
