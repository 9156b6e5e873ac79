//! Refuses writes from pages of other sites in a visitor's browser.
//!
//! A browser sends simple requests from any page to any address that its machine reaches, even if the page may not read the
//! answer. It names the page's site: by `Sec-Fetch-Site` where the address is https or local, else by `Origin`. A client
//! that is no browser sends neither.

use hyper::{
    Request, StatusCode,
    header::{HeaderName, ORIGIN},
};

use super::{Config, Problem, authority::Authority};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a write from a page of another site, unless that site is allowed. Also refuses a request with two origins, which
/// no browser sends (RFC 6454, section 7.3).
///
/// # Errors
///
/// 400, 403.
pub fn check_origin<B>(request: &Request<B>, config: &Config) -> Result<(), Problem> {
    if request.headers().get_all(ORIGIN).iter().nth(1).is_some() {
        return Err(Problem::bad_request("Origin is given more than once"));
    }
    let may = || {
        let origin = request.headers().get(ORIGIN)?;
        let is_it = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        let is_trusted = config.trusted_origins.iter().any(is_it);
        (is_trusted || config.cors.as_ref().is_some_and(|cors| cors.admits(origin))).then_some(())
    };
    if request.method().is_safe() || !is_foreign(request) || may().is_some() {
        return Ok(());
    }
    Err(foreign())
}

/// 403: the page's site is not allowed to write.
pub(super) fn foreign() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "pages of another site may not write here (Sec-Fetch-Site, Origin): send this from a page of this site or of \
         a trusted origin, or from a program",
    )
}

fn is_foreign<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get(&SEC_FETCH_SITE) {
        // The browser has compared the sites; a proxy before this service changes nothing about that.
        return site == "cross-site";
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    // The origin `null` belongs to no site.
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let Some((scheme, page)) = page else { return true };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return true,
    };
    let same = Authority::parse(page).zip(Authority::from_request(request)).is_some_and(|(page, here)| {
        page.host.eq_ignore_ascii_case(here.host) && page.port.unwrap_or(usual) == here.port.unwrap_or(usual)
    });
    !same
}
