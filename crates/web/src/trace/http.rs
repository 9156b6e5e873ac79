//! The span of a request that is answered, by the semantic conventions of HTTP.

use std::net::IpAddr;

use hyper::{Method, Request, StatusCode, Version, header::USER_AGENT};

use super::{
    Tracer,
    context::{TraceContext, TraceId},
    otlp::{Kind, Status},
    tracer::ActiveSpan,
};
use crate::http::Authority;

/// A request's place in its trace: without a tracer, the place in the request's headers.
#[derive(Debug, Default)]
pub(crate) struct RequestTrace {
    context: Option<TraceContext>,
    /// The span, if it is recorded.
    span: Option<Box<ActiveSpan>>,
}

impl RequestTrace {
    /// The trace of a new request, from that client if it is known.
    pub(crate) fn of<B>(
        tracer: Option<&Tracer>,
        request: &Request<B>,
        scheme: &'static str,
        client: Option<IpAddr>,
    ) -> Self {
        let parent = TraceContext::of_request(request.headers());
        let Some(tracer) = tracer else { return Self { context: parent, span: None } };
        let context = tracer.next(parent.as_ref());
        let span = context.is_sampled().then(|| {
            let name = match known(request.method()) {
                OTHER => "HTTP",
                method => method,
            };
            let mut span = tracer.begin(Kind::Server, name.to_owned(), &context, parent.as_ref());
            span.update(|span| {
                span.set("http.request.method", known(request.method()));
                if known(request.method()) == OTHER {
                    span.set("http.request.method_original", request.method().as_str());
                }
                span.set("url.scheme", scheme);
                span.set(PATH, request.uri().path());
                span.set(
                    "network.protocol.version",
                    if request.version() == Version::HTTP_2 { "2" } else { "1.1" },
                );
                if let Some(Authority { host, port }) = Authority::from_request(request) {
                    span.set("server.address", host);
                    port.into_iter().for_each(|port| span.set("server.port", i64::from(port)));
                }
                if let Some(client) = client {
                    span.set("client.address", client.to_string());
                }
                if let Some(agent) = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
                    span.set("user_agent.original", agent);
                }
            });
            Box::new(span)
        });
        Self { context: Some(context), span }
    }

    /// The context of the work for the request.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        self.context.clone()
    }

    /// The request's trace, if it is recorded here.
    pub(crate) fn recorded(&self) -> Option<TraceId> {
        self.span.as_ref().and(self.context.as_ref()).map(|context| context.trace_id)
    }

    /// The answer begins, with this status. `route` is the pattern of the path. The span has it in place of the path, which
    /// may contain a user's id. The span goes on until the answer has ended.
    pub(crate) fn answered(&mut self, status: StatusCode, route: impl FnOnce() -> Option<&'static str>) {
        let Some(span) = &mut self.span else { return };
        span.update(|span| {
            if let Some(route) = route() {
                span.name = format!("{} {route}", span.name);
                span.attributes.retain(|attribute| attribute.key != PATH);
                span.set(PATH, route);
                span.set("http.route", route);
            }
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                span.set("error.type", status.as_str());
                span.status = Some(Status::error(""));
            }
        });
    }
}

const PATH: &str = "url.path";

/// The name of a method that the conventions do not know: clients cannot invent names of spans.
const OTHER: &str = "_OTHER";

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => OTHER,
    }
}
