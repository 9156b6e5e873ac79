//! Describes the routes of a service, for programs and for people: `GET /openapi.json`, OpenAPI 3.1, and Swagger UI on
//! it at `/swagger`. All of it comes out of the program itself; no other address is asked for anything.
//!
//! A service describes its routes with [`Document`] and [`Operation`]: the schemas are derived from the types that the
//! routes take and answer, the bounds are the constants that they check, the problems are those that they would answer
//! with. That happens in a test, which holds what comes of it against `docs/openapi`; what is there is packed into the
//! program by `build.rs`. So no service pays for it, and each change of what it promises is seen in a review.

mod document;
mod operation;
mod packed;
mod shared;

use std::future::ready;

use warp::{
    Filter, Reply,
    filters::path::FullPath,
    http::{HeaderMap, HeaderValue, header},
};

pub use document::Document;
pub use operation::{Answer, Operation};
pub use packed::Packed;
pub use packed::packed;
pub use shared::{correlated, date_time, describe_files, guarded, timestamp, uuid};

use super::{Route, nothing, reads};

/// The sources that Swagger UI needs: scripts and styles of this service, images within the styles, and this service's
/// answers. It sets styles on elements, too.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: Packed = packed!("swagger.html", "text/html; charset=utf-8");
/// The files that the page loads, by their names under `/swagger`.
static FILES: [(&str, Packed); 3] = [
    ("start.js", packed!("start.js", "text/javascript; charset=utf-8")),
    ("swagger-ui-bundle.js", packed!("swagger-ui-bundle.js", "text/javascript; charset=utf-8")),
    ("swagger-ui.css", packed!("swagger-ui.css", "text/css; charset=utf-8")),
];

/// `GET /openapi.json`, `/swagger` and `/swagger/{file}`.
pub fn routes(document: &'static Packed) -> Route {
    let here = warp::path::full().and_then(|path: FullPath| {
        ready(if is_here(path.as_str()) { Ok(path) } else { Err(warp::reject::not_found()) })
    });
    here.and(reads())
        .and(warp::header::headers_cloned())
        .map(move |path: FullPath, asked: HeaderMap| {
            let Some(file) = file(document, path.as_str()) else {
                return nothing(path.as_str()).into_response();
            };
            let mut response = file.answer(&asked);
            let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        })
        .boxed()
}

fn is_here(path: &str) -> bool {
    let is_file = |name: &str| !name.is_empty() && !name.contains('/');
    match path.strip_suffix('/').unwrap_or(path) {
        "/openapi.json" | "/swagger" => true,
        path => path.strip_prefix("/swagger/").is_some_and(is_file),
    }
}

fn file(document: &'static Packed, path: &str) -> Option<&'static Packed> {
    match path.strip_suffix('/').unwrap_or(path) {
        "/openapi.json" => Some(document),
        "/swagger" => Some(&PAGE),
        path => {
            let name = path.strip_prefix("/swagger/")?;
            FILES.iter().find(|(known, _)| *known == name).map(|(_, file)| file)
        }
    }
}
