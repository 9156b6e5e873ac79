//! REST plumbing without a business word: serving, bodies, errors.

use std::{net::IpAddr, time::Duration};

/// How the service is reached, and what a client may cost.
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
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// How long an answer may take to begin.
    pub request_timeout: Duration,
    /// The most connections at one time.
    pub max_connections: usize,
}
