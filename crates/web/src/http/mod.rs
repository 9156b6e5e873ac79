//! HTTP plumbing without any domain.
//!
//! [`serve`] answers connections from a filter tree and bounds the cost of a client. [`json_body`] reads bodies,
//! [`Parameters`] and [`segment`] read queries and paths, and [`Problem`] is an error answer. [`client`] sends requests to a
//! service of this machine. Handlers return errors as replies through `then`; warp's rejections only pick the route.

#![cfg_attr(not(feature = "tls"), allow(dead_code, reason = "several requests at a time come with TLS"))]

mod access;
mod admin_auth;
mod answer;
mod authority;
mod bearer;
mod body;
mod budget;
mod caller;
pub mod client;
mod coding;
mod connection;
mod correlation;
mod cors;
mod current_request;
mod deadlines;
mod filters;
#[cfg(feature = "tls")]
mod handshake;
mod head;
mod healthcheck;
#[cfg(feature = "tls")]
mod https;
#[cfg(not(feature = "tls"))]
#[path = "no_https.rs"]
mod https;
mod https_files;
mod limiter;
mod lines;
mod media;
mod methods;
mod observer;
pub mod openapi;
mod origin;
mod packed;
mod packing;
mod parameters;
mod paths;
mod precondition;
mod problem;
mod proxies;
mod request_body;
mod response_body;
#[cfg(feature = "tls")]
mod secured;
mod serve;
mod service;
mod socket;
mod static_page;
mod streams;
mod traffic;
mod tree;
mod turned_away;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

pub use admin_auth::{AdminAuth, limited};
pub use answer::{answer, json};
pub use authority::Authority;
pub use bearer::BearerToken;
pub use body::{
    BodyLimits, BodyStream, ManyBody, any_body, header, json_body, json_text, many_body,
    neither_json_nor_lines,
};
pub use budget::released;
pub use caller::caller;
pub use correlation::{CORRELATION_ID, CorrelationId, correlation};
pub use cors::{AllowedOrigins, Cors, CrossOriginRequest};
pub use current_request::{allow_pauses, extend_deadline, reserve_memory};
pub use filters::{Route, first_of, query, reads, unknown, unrouted, with};
pub use head::AllowedHosts;
pub use healthcheck::is_healthy;
pub use https::Https;
pub use https_files::{HttpsFault, HttpsFiles};
pub use lines::{Line, Lines};
use media::accepts_gzip;
pub use media::{EVENT_STREAM, JSON, NDJSON, is_json, is_media_type, prefers};
pub use methods::{nothing, refuse};
pub use observer::AccessLog;
pub use origin::check_origin;
pub use packed::{Packed, packed};
pub use parameters::{Parameters, encode_segment, next_link, percent_decoded, segment};
pub use paths::{Path, Paths};
pub use precondition::{check_match, etag, with_etag};
pub use problem::{FieldError, PROBLEM_JSON, Problem};
pub use proxies::Network;
pub use serve::{Listeners, serve};
pub use static_page::StaticPage;
pub use traffic::Traffic;
pub use turned_away::{RefusalListener, TurnedAway};
pub use warp::http::{HeaderName, HeaderValue};

use crate::{auth::AuthConfig, trace::Tracer};

/// The addresses of the service, and the limits of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The deepest nesting of JSON in a body.
    pub max_depth: usize,
    /// The longest time of a request's head.
    pub header_timeout: Duration,
    /// The longest time of a body.
    pub body_timeout: Duration,
    /// The longest wait for the beginning of an answer.
    pub request_timeout: Duration,
    /// TLS on the service's own port; `None` is plain HTTP.
    pub https: Option<Https>,
    /// A port of its own for `/health`, `/ready` and `/metrics` alone. The service's own port has them, too.
    pub ops_port: Option<u16>,
    /// A port of its own for `/metrics` alone. The service's own port then does not have it.
    pub metrics_port: Option<u16>,
    /// The accepted clients, and their limits.
    pub auth: AuthConfig,
    /// The most connections at one time.
    pub max_connections: usize,
    /// The hosts that requests may be for.
    pub hosts: AllowedHosts,
    /// The most connections from one address.
    pub max_connections_per_address: Option<usize>,
    /// The most memory that connections, requests and answers take together; unset, 256 MiB.
    pub max_bytes: Option<usize>,
    /// The other sites whose pages may send requests, if any.
    pub cors: Option<Cors>,
    /// Other origins whose pages count as this site's own, as browsers send them, such as `https://shop.example`.
    pub trusted_origins: Vec<String>,
    /// The logged answers.
    pub access_log: AccessLog,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<Network>,
    /// The tracer of requests; `None` makes no spans.
    pub tracer: Option<Tracer>,
    /// The time after the stop for requests in progress; then their connections are cut off.
    pub stop_timeout: Duration,
}

impl Config {
    /// The scheme of a URL of the service, without the colon.
    pub fn scheme(&self) -> &'static str {
        if self.https.is_some() { "https" } else { "http" }
    }

    /// The address of `/health` and `/ready` on this machine.
    pub fn probe_address(&self) -> SocketAddr {
        SocketAddr::new(self.own_address().ip(), self.ops_port.unwrap_or(self.port))
    }

    /// The address of the service from this machine: over loopback where it listens on every address.
    pub fn own_address(&self) -> SocketAddr {
        let host = match self.host {
            IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            host => host,
        };
        SocketAddr::new(host, self.port)
    }

    /// The warnings about these settings, for operators.
    pub fn warnings(&self) -> Vec<String> {
        let is_open = !self.auth.is_on() && !self.host.is_loopback();
        let warning = "clients are not authenticated, and the address is no loopback address: anyone who reaches this service may read and write";
        is_open.then(|| warning.to_owned()).into_iter().collect()
    }

    /// The limits of a body.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits { max_bytes: self.max_body_bytes, max_depth: self.max_depth, timeout: self.body_timeout }
    }
}
