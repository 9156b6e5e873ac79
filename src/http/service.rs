//! What stands between a connection and the filter tree: the request's deadline, and panics.

use std::{
    cell::RefCell,
    convert::Infallible,
    error::Error,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
};
use pin_project_lite::pin_project;
use tower_service::Service;
use warp::Reply;

use super::{
    CORRELATION_ID, Correlation, Cors, Problem, Traffic, caller, check_origin,
    pace::{CURRENT, Pace},
};

/// What the filter tree answers.
type Answer = warp::reply::Response;

/// A connection's way to the filter tree.
pub(super) struct Guarded<S> {
    /// The tree is cloned once a connection, not once a request: hyper calls through a shared reference,
    /// and only ever from the connection's own task.
    tree: RefCell<S>,
    peer: Option<IpAddr>,
    pace: Arc<Pace>,
    traffic: Arc<Traffic>,
    cors: Option<Cors>,
}

impl<S> Guarded<S> {
    pub(super) fn new(
        tree: S,
        peer: Option<IpAddr>,
        pace: Arc<Pace>,
        traffic: Arc<Traffic>,
        cors: Option<Cors>,
    ) -> Self {
        Self { tree: RefCell::new(tree), peer, pace, traffic, cors }
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
        caller::note(&mut request, self.peer);
        let refused = check_origin(&asked.method, request.headers(), self.cors.as_ref()).err();
        let call = || self.tree.borrow_mut().call(request);
        let work = match refused {
            Some(_) => None,
            None => catch_unwind(AssertUnwindSafe(call)).map_err(|panic| asked.panicked(panic)).ok(),
        };
        Handling { work, refused, asked, pace: Arc::clone(&self.pace), traffic: Arc::clone(&self.traffic) }
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
        let Asked { method, uri, correlation, began } = this.asked;
        this.traffic.answered(uri.path(), method, answer.status(), *began);
        // Whatever becomes of a request, its answer has the id that it came with, or that its handler gave it. One that
        // was to change something has one in any case.
        let told = this.pace.take_correlation();
        let answer = if answer.headers().contains_key(CORRELATION_ID) {
            answer
        } else {
            match correlation.take().or(told) {
                Some(correlation) => correlation.on(answer),
                None if method.is_safe() => answer,
                None => Correlation::made().on(answer),
            }
        };
        Poll::Ready(Ok(answer.map(|body| Sent { body, pace: Arc::clone(this.pace) })))
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

/// The body of an answer on its way out.
pub(super) struct Sent {
    body: TreeBody,
    pace: Arc<Pace>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let poll = || Pin::new(&mut self.body).poll_frame(context);
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                self.pace.answer_pending();
                Poll::Pending
            }
            Ok(Poll::Ready(frame)) => {
                self.pace.answer_began();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            // The status is long gone: all that is left is to break the answer off, visibly.
            Err(_) => Poll::Ready(Some(Err("the answer's body panicked".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.pace.answer_ended();
    }
}
