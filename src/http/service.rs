//! What stands between a connection and the filter tree: the request's deadline, and panics.

use std::{
    cell::RefCell,
    convert::Infallible,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
};
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tower_service::Service;
use warp::Reply;

use super::{
    CORRELATION_ID, Correlation, Cors, Problem, Traffic,
    access::{Access, is_probe},
    budget::BUFFER,
    check_origin,
    pace::{CURRENT, Pace, no_memory},
    serve::Stop,
};

/// What the filter tree answers.
type Answer = warp::reply::Response;

/// A connection's way to the filter tree.
pub(super) struct Guarded<S> {
    /// The tree is cloned once a connection, not once a request: hyper calls through a shared reference,
    /// and only ever from the connection's own task.
    tree: RefCell<S>,
    pace: Arc<Pace>,
    traffic: Arc<Traffic>,
    cors: Option<Cors>,
    access: Access,
    stop: watch::Receiver<Stop>,
}

impl<S> Guarded<S> {
    pub(super) fn new(
        tree: S,
        pace: Arc<Pace>,
        traffic: Arc<Traffic>,
        cors: Option<Cors>,
        access: Access,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        Self { tree: RefCell::new(tree), pace, traffic, cors, access, stop }
    }

    /// Whether the next answer is the connection's last.
    fn is_last(&self) -> bool {
        self.access == Access::Reserve || self.pace.is_evicted() || *self.stop.borrow() >= Stop::Closing
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Guarded<S>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    type Response = Response<Sent>;
    type Error = Infallible;
    type Future = Handling<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.pace.head_complete();
        if request.uri().path_and_query().is_none() {
            // CONNECT names a host in place of a path, at which warp panics. There is nothing there, as at `/`.
            *request.uri_mut() = Uri::from_static("/");
        }
        let began = Instant::now();
        let asked = Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
            correlation: request.headers().get(CORRELATION_ID).and_then(Correlation::given),
            began,
        };
        let allowed = || check_origin(&asked.method, request.headers(), self.cors.as_ref());
        let refused = self.access.refusal(asked.uri.path()).or_else(|| allowed().err());
        let call = || self.tree.borrow_mut().call(request);
        let work = match refused {
            Some(_) => None,
            None => catch_unwind(AssertUnwindSafe(call)).map_err(|panic| asked.panicked(panic)).ok(),
        };
        let (pace, traffic) = (Arc::clone(&self.pace), Arc::clone(&self.traffic));
        Handling { work, refused, asked, pace, traffic, last: self.is_last() }
    }
}

/// What was asked for, and when, for the log and for the count.
#[derive(Debug)]
struct Asked {
    method: Method,
    uri: Uri,
    correlation: Option<Correlation>,
    began: Instant,
}

impl Asked {
    /// The panic itself was reported by the process' panic hook; this says whose fault it was.
    fn panicked<T>(&self, _: T) {
        log::debug!(method:% = self.method, path:% = self.uri.path(); "the handler of a request panicked");
    }
}

pin_project! {
    /// A request that is being answered.
    pub(super) struct Handling<F> {
        #[pin]
        work: Option<F>,
        // Why it is not even handed on.
        refused: Option<Problem>,
        asked: Asked,
        pace: Arc<Pace>,
        traffic: Arc<Traffic>,
        // Whether the connection closes with the answer.
        last: bool,
    }
}

impl<F> Future for Handling<F>
where
    F: Future<Output = Result<Answer, Infallible>>,
{
    type Output = Result<Response<Sent>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let answer = if this.pace.is_overdue() {
            let correlation = this.asked.correlation.take().or_else(|| this.pace.take_correlation());
            let correlation = this.asked.correlation.insert(correlation.unwrap_or_else(Correlation::made));
            log::warn!(
                method:% = this.asked.method, path:% = this.asked.uri.path(), correlationId = correlation.as_str();
                "a request was given up: it had no answer in time"
            );
            overdue().into_response()
        } else if let Some(work) = this.work.as_mut().as_pin_mut() {
            let poll = || CURRENT.sync_scope(Arc::clone(this.pace), || work.poll(context));
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(answer))) => answer,
                Err(panic) => {
                    this.asked.panicked(panic);
                    Problem::internal().into_response()
                }
            }
        } else {
            this.refused.take().unwrap_or_else(Problem::internal).into_response()
        };
        this.work.set(None);
        this.pace.answer_began();
        let length = answer.body().size_hint().exact();
        let answer = if this.pace.share.take_for_answer(length) || is_probe(this.asked.uri.path()) {
            answer
        } else {
            no_memory().into_response()
        };
        let Asked { method, uri, correlation, began } = this.asked;
        this.traffic.answered(uri.path(), method, answer.status(), *began);
        // Whatever becomes of a request, its answer has the id that it came with, or that its handler gave it. One that
        // was to change something has one in any case.
        let told = this.pace.take_correlation();
        let mut answer = if answer.headers().contains_key(CORRELATION_ID) {
            answer
        } else {
            match correlation.take().or(told) {
                Some(correlation) => correlation.on(answer),
                None if method.is_safe() => answer,
                None => Correlation::made().on(answer),
            }
        };
        if *this.last {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer.map(|body| Sent { body, rest: Bytes::new(), pace: Arc::clone(this.pace) })))
    }
}

/// 503: a handler was given up.
pub(super) fn overdue() -> Problem {
    Problem::unavailable("there was no answer in time; what was asked for may have happened all the same", 1)
}

/// Gives warp's type of a body a name, which warp itself does not.
trait Carries {
    type Body;
}

impl<B> Carries for Response<B> {
    type Body = B;
}

type TreeBody = <Answer as Carries>::Body;

/// The body of an answer on its way out, in pieces that hyper's buffer need not grow for: it never shrinks again.
pub(super) struct Sent {
    body: TreeBody,
    /// Of a piece what the next ones are.
    rest: Bytes,
    pace: Arc<Pace>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.rest.is_empty() {
            let most = self.rest.len().min(BUFFER);
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(most)))));
        }
        let poll = || Pin::new(&mut self.body).poll_frame(context);
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                self.pace.answer_pending();
                Poll::Pending
            }
            Ok(Poll::Ready(frame)) => {
                self.pace.answer_began();
                let frame = frame.map(|frame| {
                    frame.map_err(Into::into).map(|frame| {
                        frame.map_data(|mut data| {
                            self.rest = data.split_off(data.len().min(BUFFER));
                            data
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

impl Drop for Sent {
    fn drop(&mut self) {
        self.pace.answer_ended();
    }
}
