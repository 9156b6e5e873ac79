//! Pages of another site that make their visitor's browser write here.
//!
//! A browser sends simple requests from any page to any address that its machine reaches, also where the page may not
//! see the answer. It says so: by `Sec-Fetch-Site` where the address is https or local, else by `Origin`. What is no
//! browser says neither.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{HOST, ORIGIN},
};

use super::Problem;

/// Refuses what is to change something and comes from a page of another site.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() || !is_foreign(headers) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "pages of another site may not write here (Sec-Fetch-Site, Origin): send this from a page of this site, or from \
         a program",
    ))
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
