//! Describes the routes of a service, for programs and for people: `GET /openapi.json`, OpenAPI 3.1, and Swagger UI at
//! `/swagger`. The program contains all of it; no other address is asked for anything.
//!
//! A service describes its routes with [`Document`] and [`Operation`]. The schemas are derived from the types of requests
//! and answers, the bounds are the constants that the routes check, and the problems are those that they answer. A test
//! makes the documents and compares them with `docs/openapi`, which `build.rs` packs into the program. So no service makes
//! them at run time, and a review shows each change of an interface.

mod document;
mod operation;
mod shared;

use warp::{Filter, http::HeaderMap};

pub use document::Document;
pub use operation::{Answer, Operation};
pub use shared::{correlated, date_time, describe_files, describe_page, guarded, timestamp, uuid};

use super::{Packed, Route, StaticPage, first_of, packed, reads};

static SWAGGER: StaticPage = StaticPage {
    path: "/swagger",
    html: packed!("swagger.html", "text/html; charset=utf-8"),
    files: &[
        ("start.js", packed!("start.js", "text/javascript; charset=utf-8")),
        ("swagger-ui-bundle.js", packed!("swagger-ui-bundle.js", "text/javascript; charset=utf-8")),
        ("swagger-ui.css", packed!("swagger-ui.css", "text/css; charset=utf-8")),
    ],
    // Scripts and styles of this service, images within the styles, and this service's answers. Swagger UI sets styles on
    // elements, too.
    policy: "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/// `GET /openapi.json`, `/swagger` and `/swagger/{file}`.
pub fn routes(document: &'static Packed) -> Route {
    let itself = warp::path!("openapi.json")
        .and(reads())
        .and(warp::header::headers_cloned())
        .map(|asked: HeaderMap| document.answer(&asked));
    first_of([itself.boxed(), SWAGGER.route()])
}
