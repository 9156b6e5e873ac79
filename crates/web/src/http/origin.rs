//! Pages of another site that make their visitor's browser write here.
//!
//! A browser sends simple requests from any page to any address that its machine reaches, also where the page may not
//! see the answer. It says so: by `Sec-Fetch-Site` where the address is https or local, else by `Origin`. What is no
//! browser says neither.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{HOST, ORIGIN},
};

use super::{Cors, Problem};

/// Refuses what is to change something and comes from a page of another site, unless that one may.
///
/// # Errors
///
/// 403.
pub fn check_origin(method: &Method, headers: &HeaderMap, cors: Option<&Cors>) -> Result<(), Problem> {
    let may = || cors.zip(headers.get(ORIGIN)).is_some_and(|(cors, origin)| cors.admits(origin));
    if method.is_safe() || !is_foreign(headers) || may() {
        return Ok(());
    }
    Err(foreign())
}

/// 403.
pub(super) fn foreign() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "pages of another site may not write here (Sec-Fetch-Site, Origin): send this from a page of this site, or from \
         a program",
    )
}

fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        // The browser has compared; a proxy between it and us changes nothing about that.
        return site == "cross-site";
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).map_or(&b""[..], |host| host.as_bytes());
    let scheme = origin.as_bytes().windows(3).position(|three| three == b"://");
    // `null` is nobody's.
    scheme.is_none_or(|scheme| !origin.as_bytes()[scheme + 3..].eq_ignore_ascii_case(host))
}
