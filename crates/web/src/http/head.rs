//! Checks the head of a request before any route sees it: its framing, and its host.

use std::net::IpAddr;

use hyper::{
    Request, StatusCode, Version,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, HeaderValue, IF_MATCH, IF_NONE_MATCH,
        TRANSFER_ENCODING,
    },
};

use super::{Config, Problem, authority::Authority, check_origin};

/// The hosts that requests may name.
///
/// A page of another site can point its own name to an address of its visitor's machine or network. The service there then
/// has the same origin as the page (DNS rebinding), but the browser still sends that name as `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Any.
    Any,
    /// This machine itself: `localhost`, names that end with `.localhost`, and loopback addresses.
    Loopback,
    /// This machine itself, these names, and the address that the connection was made to.
    Named(Vec<String>),
}

impl AllowedHosts {
    fn admit(&self, asked: &Authority<'_>, local: Option<IpAddr>) -> Result<(), Problem> {
        let is_taken = match self {
            Self::Any => true,
            Self::Loopback => asked.is_loopback(),
            Self::Named(names) => {
                names.iter().any(|name| name.eq_ignore_ascii_case(asked.host))
                    || asked.is_loopback()
                    || asked.address().is_some_and(|address| Some(address) == local)
            }
        };
        if is_taken { Ok(()) } else { Err(misdirected(asked.host)) }
    }
}

/// Refuses requests that no route may get; `local` is the address that the connection was made to.
///
/// # Errors
///
/// 400, 403, 421, 501.
pub(super) fn check_head<B>(
    request: &Request<B>,
    config: &Config,
    local: Option<IpAddr>,
) -> Result<(), Problem> {
    check_coding(request)?;
    check_host(request)?;
    // A request without a host, as in HTTP/1.0, names nothing that could point here falsely.
    if let Some(asked) = Authority::from_request(request) {
        config.hosts.admit(&asked, local)?;
    }
    check_origin(request, config)
}

/// Joins the lines of a list into one (RFC 9110, section 5.3). Later code reads one line.
pub(super) fn join_lists<B>(request: &mut Request<B>) {
    let headers = request.headers();
    if headers.len() == headers.keys_len() {
        return; // as of nearly every request: no name is there twice
    }
    for name in [ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, IF_MATCH, IF_NONE_MATCH] {
        let lines: Vec<_> = request.headers().get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if lines.len() > 1
            && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b", "[..]))
        {
            request.headers_mut().insert(name, joined);
        }
    }
}

/// RFC 9112, section 6.1: `chunked` once, and nothing else. Otherwise the end of the body is unknown, and nothing more can
/// be read from the connection.
fn check_coding<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let Some(first) = codings.next() else { return Ok(()) };
    let last = HeaderValue::from_static("close");
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some() {
        let twice = Problem::bad_request("Transfer-Encoding is given more than once");
        return Err(twice.with_header(CONNECTION, last));
    }
    if !is_chunked(first.as_bytes()) {
        let unknown = "of transfer codings, chunked alone is taken";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, unknown).with_header(CONNECTION, last));
    }
    Ok(())
}

/// RFC 9112, section 3.2: one `Host` with a valid host. An absolute target has a valid host as well, and no user (RFC 9110,
/// section 4.2.4).
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let target = request.uri().authority();
    if target.is_some_and(|authority| Authority::parse(authority.as_str()).is_none()) {
        return Err(Problem::bad_request("the target must name a host, with a port or without"));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let fault = match (hosts.next(), hosts.next()) {
        // In HTTP/2 the target has the host (RFC 9113, section 8.3.1).
        (None, _) if request.version() == Version::HTTP_2 && target.is_some() => return Ok(()),
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, _) => "Host is missing",
        (Some(_), Some(_)) => "Host is given more than once",
        (Some(host), None) if host.to_str().is_ok_and(|host| Authority::parse(host).is_some()) => {
            return Ok(());
        }
        (Some(_), None) => "Host must be a host, with a port or without",
    };
    Err(Problem::bad_request(fault))
}

/// 421: RFC 9110, section 15.5.20.
pub(super) fn misdirected(host: &str) -> Problem {
    let detail = format!("this service does not answer for {host}, which is none of its allowed hosts");
    Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)
}
