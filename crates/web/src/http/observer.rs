//! Reports each answer: to the metrics, and to the access log where it is enabled.

use std::{net::IpAddr, sync::Arc};

use hyper::{HeaderMap, Method, Request, StatusCode, Uri};

use super::{CORRELATION_ID, Config, CorrelationId, Network, Problem, Traffic, TurnedAway, proxies};
use crate::{sampler::Sampler, trace::RequestTrace};

const TARGET: &str = "highwater::access";
/// The most errors that are logged in a second. Further ones are only counted.
const MOST: u32 = 10;

/// The answers in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// No answer.
    Off,
    /// Answers with a status of 400 or more, up to a number a second.
    Errors,
    /// All answers.
    All,
}

/// A request: its target, its client, its time.
#[derive(Debug)]
pub(super) struct RequestInfo {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) correlation: Option<CorrelationId>,
    pub(super) began: std::time::Instant,
    /// The client's address, where it is known.
    pub(super) client: Option<IpAddr>,
    pub(super) trace: RequestTrace,
}

pub(super) struct Observer {
    traffic: Arc<Traffic>,
    access: AccessLog,
    proxies: Vec<Network>,
    errors: Sampler,
}

impl Observer {
    pub(super) fn new(traffic: Arc<Traffic>, config: &Config) -> Self {
        let (access, proxies) = (config.access_log, config.trusted_proxies.clone());
        Self { traffic, access, proxies, errors: Sampler::new(MOST) }
    }

    /// The client's address, as the trusted proxies tell it.
    pub(super) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        Some(proxies::client(peer?, headers, &self.proxies))
    }

    /// A request is answered now. An answer without an end is logged at its end.
    pub(super) fn answered(&self, info: &mut RequestInfo, status: StatusCode, is_endless: bool) {
        let took = info.began.elapsed();
        self.traffic.count(info.uri.path(), &info.method, status, took, info.trace.recorded());
        info.trace.answered(status, || self.traffic.paths().pattern(info.uri.path()));
        if !is_endless && self.has(status) {
            log(info, status);
        }
    }

    /// A request of that client is refused before any route sees it.
    pub(super) fn turned_away<B>(&self, request: &Request<B>, client: Option<&Arc<str>>, problem: &Problem) {
        let correlation = request.headers().get(CORRELATION_ID).and_then(CorrelationId::from_header);
        self.traffic.turned_away(&TurnedAway {
            method: request.method(),
            path: request.uri().path(),
            correlation_id: correlation.as_ref().map(CorrelationId::as_str),
            client,
            problem,
        });
    }

    /// The end of an answer without an end; drop it then.
    pub(super) fn ending(self: &Arc<Self>, info: &RequestInfo, status: StatusCode) -> Ending {
        let RequestInfo { method, uri, correlation, began, client, .. } = info;
        let info = RequestInfo {
            method: method.clone(),
            uri: uri.clone(),
            correlation: correlation.clone(),
            began: *began,
            client: *client,
            trace: RequestTrace::default(),
        };
        Ending { observer: Arc::clone(self), info, status }
    }

    /// Reports the answer to bytes that are no request, or to a connection over the limit.
    pub(super) fn refused(&self, peer: Option<IpAddr>, status: StatusCode) {
        self.traffic.refused(status);
        if self.has(status) {
            log::info!(
                target: TARGET,
                client:% = Known(peer.map(|peer| peer.to_canonical())), status = status.as_u16();
                "refused before a request was read"
            );
        }
    }

    /// Whether the access log includes answers with that status.
    fn has(&self, status: StatusCode) -> bool {
        match self.access {
            AccessLog::Off => false,
            AccessLog::All => true,
            AccessLog::Errors => status.as_u16() >= 400 && self.is_among_the_first(),
        }
    }

    /// Whether an error is one of the first in its second. The first one reports the number that the last second left out.
    fn is_among_the_first(&self) -> bool {
        let sampled = self.errors.sample();
        if sampled.left_out > 0 {
            log::warn!(target: TARGET, leftOut = sampled.left_out; "more errors were answered than are logged");
        }
        sampled.is_logged
    }
}

/// The end of an endless answer. When dropped, it logs the answer with its duration.
pub(super) struct Ending {
    observer: Arc<Observer>,
    info: RequestInfo,
    status: StatusCode,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.observer.has(self.status) {
            log(&self.info, self.status);
        }
    }
}

fn log(info: &RequestInfo, status: StatusCode) {
    log::info!(
        target: TARGET,
        client:% = Known(info.client), method:% = info.method, path:% = info.uri.path(),
        status = status.as_u16(), durationMs = info.began.elapsed().as_micros() as f64 / 1000.0,
        correlationId = info.correlation.as_ref().map_or("-", CorrelationId::as_str);
        "answered"
    );
}

/// An address, where it is known.
struct Known(Option<IpAddr>);

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("-"),
        }
    }
}
