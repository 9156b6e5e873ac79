//! The service between a connection and the filter tree: it enforces deadlines and catches panics.

use std::{
    cell::RefCell,
    convert::Infallible,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::{
    Request, Response, Uri,
    body::{Body as _, Incoming},
    header::{CONNECTION, HeaderValue},
};
use tokio::{net::TcpStream, sync::watch};
use warp::{Reply, reply};

use super::{
    CORRELATION_ID, Config, CorrelationId, Problem,
    access::{Access, is_probe},
    caller::CALLER,
    connection::Stop,
    cors::CrossOriginRequest,
    current_request::{self, no_memory},
    deadlines::ConnectionDeadlines,
    head::{check_head, join_lists},
    media::is_event_stream,
    observer::{Observer, RequestInfo},
    packing,
    request_body::{RequestBody, UnreadBody},
    response_body::ResponseBody,
    streams::Streams,
    tree::{Answering, Handler, Tree},
};
use crate::{
    auth::{AccessDecision, AccessGate, Attempt, Grant, LastClient, refusals::unchecked},
    trace::{RequestTrace, within},
};

/// The addresses of a connection, where they are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketAddresses {
    local: Option<IpAddr>,
    pub(super) peer: Option<IpAddr>,
}

impl SocketAddresses {
    pub(super) fn of(stream: &TcpStream) -> Self {
        let local = stream.local_addr().ok().map(|address| address.ip().to_canonical());
        Self { local, peer: stream.peer_addr().ok().map(|address| address.ip()) }
    }
}

/// The context that all requests of a connection share.
pub(super) struct ConnectionContext {
    pub(super) addresses: SocketAddresses,
    pub(super) deadlines: Arc<ConnectionDeadlines>,
    pub(super) rest: UnreadBody,
    pub(super) observer: Arc<Observer>,
    pub(super) config: Arc<Config>,
    pub(super) gate: Arc<AccessGate>,
    pub(super) access: Access,
    pub(super) stop: watch::Receiver<Stop>,
    /// The requests under way on this connection, where there may be several at a time.
    pub(super) streams: Option<Arc<Streams>>,
}

impl ConnectionContext {
    /// The context of one of several requests on this connection.
    pub(super) fn of_stream(&self, deadlines: Arc<ConnectionDeadlines>, streams: &Arc<Streams>) -> Self {
        Self {
            deadlines,
            rest: UnreadBody::default(),
            observer: Arc::clone(&self.observer),
            config: Arc::clone(&self.config),
            gate: Arc::clone(&self.gate),
            stop: self.stop.clone(),
            streams: Some(Arc::clone(streams)),
            ..*self
        }
    }

    /// Tells the client to make no more requests on this connection, if this answer is the last.
    fn end_with(&self, answer: &mut reply::Response) {
        if let Some(streams) = &self.streams {
            // HTTP/2 tells that of the connection, not in an answer (RFC 9113, sections 6.8 and 8.2.2).
            answer.headers_mut().remove(CONNECTION);
            if self.is_last() {
                streams.leave();
            }
            return;
        }
        if self.is_last() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether the current answer is the connection's last.
    fn is_last(&self) -> bool {
        self.access == Access::Reserve || self.deadlines.is_evicted() || *self.stop.borrow() >= Stop::Closing
    }
}

/// The filter tree behind a connection.
pub(super) struct GuardedService {
    tree: Tree,
    /// A clone of the tree for each connection, not each request: hyper calls through a shared reference, and only from the
    /// connection's own task.
    handler: RefCell<Handler>,
    last_client: RefCell<LastClient>,
    pub(super) connection: Arc<ConnectionContext>,
}

impl GuardedService {
    pub(super) fn new(tree: Tree, connection: Arc<ConnectionContext>) -> Self {
        Self { handler: RefCell::new(tree.handler()), tree, last_client: RefCell::default(), connection }
    }
}

impl hyper::service::Service<Request<Incoming>> for GuardedService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.answer(request, Arc::clone(&self.connection), None)
    }
}

impl GuardedService {
    /// Answers a request in its context, which is the connection's own where it has one request at a time. The request may
    /// be refused already.
    pub(super) fn answer(
        &self,
        mut request: Request<Incoming>,
        connection: Arc<ConnectionContext>,
        refused: Option<Problem>,
    ) -> ResponseFuture {
        connection.deadlines.head_complete(request.method());
        let refused =
            refused.or_else(|| check_head(&request, &connection.config, connection.addresses.local).err());
        if request.uri().path_and_query().is_none() {
            // CONNECT names a host in place of a path, and warp panics at that. Nothing is there, as at `/`.
            *request.uri_mut() = Uri::from_static("/");
        }
        let began = Instant::now();
        let client = connection.observer.client(connection.addresses.peer, request.headers());
        // Probes come all the time, and their traces would tell nothing.
        let tracer = connection.config.tracer.as_ref().filter(|_| !is_probe(request.uri().path()));
        let trace = RequestTrace::of(tracer, &request, connection.config.scheme(), client);
        let info = RequestInfo {
            method: request.method().clone(),
            uri: request.uri().clone(),
            correlation: request.headers().get(CORRELATION_ID).and_then(CorrelationId::from_header),
            began,
            client,
            trace,
        };
        let refused = refused.or_else(|| connection.access.refusal(info.uri.path(), &connection.config));
        let page = connection.config.cors.as_ref().and_then(|_| CrossOriginRequest::from_request(&request));
        join_lists(&mut request);
        let packs = packing::is_asked_for(request.headers());
        let request = RequestBody::within(request, &connection.rest, &connection.deadlines);
        let decision = match refused {
            Some(problem) => AccessDecision::Refused(problem, None),
            None if connection.access.is_apart() => AccessDecision::Admitted(Grant::default()),
            None => {
                let last = &mut self.last_client.borrow_mut();
                connection.gate.admit(&request, info.client, Attempt::First, last)
            }
        };
        let (mut refused, mut grant) = (None, Grant::default());
        let work = match decision {
            AccessDecision::Refused(problem, client) => {
                connection.observer.turned_away(&request, client.as_ref(), &problem);
                refused = Some(problem);
                None
            }
            AccessDecision::Admitted(granted) => {
                grant = granted;
                let call = || within(info.trace.context(), || (self.handler.borrow_mut())(request));
                catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panicked(&info, panic)).ok()
            }
            AccessDecision::Wait(until) => {
                let (gate, client) = (Arc::clone(&connection.gate), info.client);
                let (tree, observer) = (self.tree.clone(), Arc::clone(&connection.observer));
                let later: Answering = Box::pin(async move {
                    until.await;
                    match gate.admit(&request, client, Attempt::Last, &mut LastClient::default()) {
                        AccessDecision::Refused(problem, client) => {
                            observer.turned_away(&request, client.as_ref(), &problem);
                            Ok(problem.into_response())
                        }
                        AccessDecision::Admitted(grant) => {
                            let mut answer = grant.within(tree.handler()(request)).await?;
                            grant.tell(answer.headers_mut());
                            Ok(answer)
                        }
                        AccessDecision::Wait(_) => Ok(unchecked().into_response()),
                    }
                });
                Some(later)
            }
        };
        ResponseFuture { work, refused, answer: None, info, page, grant, packs, connection }
    }
}

/// The process' panic hook has reported the panic; this names the request.
fn panicked<T>(info: &RequestInfo, _: T) {
    log::debug!(method:% = info.method, path:% = info.uri.path(); "the handler of a request panicked");
}

/// A request that is being answered.
pub(super) struct ResponseFuture {
    work: Option<Answering>,
    /// The reason why the request is not handled at all.
    refused: Option<Problem>,
    /// The answer, which waits until the rest of the request's body is read.
    answer: Option<reply::Response>,
    info: RequestInfo,
    /// The page of another site that sent the request, where such pages are allowed.
    page: Option<CrossOriginRequest>,
    /// The rights of the client, whose limits go into the answer.
    grant: Grant,
    /// The client accepts gzip.
    packs: bool,
    connection: Arc<ConnectionContext>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        within(this.info.trace.context(), || this.poll_answer(context)).map(Ok)
    }
}

impl ResponseFuture {
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Response<ResponseBody>> {
        let this = self;
        let ConnectionContext { deadlines, rest, observer, .. } = &*this.connection;
        if deadlines.is_stream() {
            // The deadlines wake this future itself, not its connection.
            deadlines.watch(context.waker());
        }
        let mut answer = if let Some(answer) = this.answer.take() {
            answer
        } else if deadlines.is_overdue() {
            let correlation = this.info.correlation.take().or_else(|| deadlines.take_correlation());
            let correlation =
                this.info.correlation.insert(correlation.unwrap_or_else(CorrelationId::generate));
            log::warn!(
                method:% = this.info.method, path:% = this.info.uri.path(), correlationId = correlation.as_str();
                "a request was given up: it had no answer in time"
            );
            overdue().into_response()
        } else if let Some(work) = &mut this.work {
            let poll = || current_request::within(deadlines, || work.as_mut().poll(context));
            let poll = || CALLER.sync_scope(this.info.client, poll);
            let poll = || this.grant.during(poll);
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(answer))) => answer,
                Err(panic) => {
                    panicked(&this.info, panic);
                    Problem::internal().into_response()
                }
            }
        } else {
            this.refused.take().unwrap_or_else(Problem::internal).into_response()
        };
        this.work = None;
        this.connection.end_with(&mut answer);
        if deadlines.is_stream() || answer.headers().contains_key(CONNECTION) {
            rest.drop_unread();
        } else {
            match rest.poll_read(context) {
                Poll::Pending => {
                    this.answer = Some(answer);
                    return Poll::Pending;
                }
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
            }
        }
        deadlines.answer_began();
        let is_endless = is_event_stream(answer.headers());
        let length = answer.body().size_hint().exact();
        if is_endless {
            deadlines.answer_is_endless();
        } else if !deadlines.take_for_answer(length) && !is_probe(this.info.uri.path()) {
            answer = no_memory().into_response();
            this.connection.end_with(&mut answer);
        }
        // Every answer has an id: the one in the handler's answer, the request's, the one that the handler worked with, or a
        // new one.
        let told = deadlines.take_correlation();
        let answered = answer.headers().get(CORRELATION_ID).and_then(CorrelationId::from_header);
        let has_it = answered.is_some();
        let correlation =
            answered.or(this.info.correlation.take()).or(told).unwrap_or_else(CorrelationId::generate);
        let correlation = this.info.correlation.insert(correlation);
        let mut answer = if has_it { answer } else { correlation.clone().on(answer) };
        this.grant.tell(answer.headers_mut());
        if let (Some(page), Some(cors)) = (&this.page, &this.connection.config.cors) {
            cors.on(&mut answer, page);
        }
        observer.answered(&mut this.info, answer.status(), is_endless);
        let ending = is_endless.then(|| observer.ending(&this.info, answer.status()));
        let packer = packing::pack(&mut answer, this.packs, deadlines);
        let trace = std::mem::take(&mut this.info.trace);
        Poll::Ready(answer.map(|body| ResponseBody::new(body, (packer, ending), trace, deadlines, rest)))
    }
}

/// 503: the handler took too long and was dropped.
pub(super) fn overdue() -> Problem {
    Problem::unavailable("there was no answer in time; what was asked for may have happened all the same", 1)
}
