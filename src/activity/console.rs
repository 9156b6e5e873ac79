//! The live page of an instance, for a browser. It has no data in it: it asks this service's own routes for them.

use highwater_web::http::{StaticPage, packed};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// `GET /console` and `/console/{file}`.
pub(super) static CONSOLE: StaticPage = StaticPage {
    path: "/console",
    html: packed!("index.html", "text/html; charset=utf-8"),
    files: &[
        ("style.css", packed!("style.css", "text/css; charset=utf-8")),
        ("access.js", packed!("access.js", JAVASCRIPT)),
        ("chart.js", packed!("chart.js", JAVASCRIPT)),
        ("client.js", packed!("client.js", JAVASCRIPT)),
        ("console.js", packed!("console.js", JAVASCRIPT)),
        ("dead-letters.js", packed!("dead-letters.js", JAVASCRIPT)),
        ("dom.js", packed!("dom.js", JAVASCRIPT)),
        ("events.js", packed!("events.js", JAVASCRIPT)),
        ("feed.js", packed!("feed.js", JAVASCRIPT)),
        ("figures.js", packed!("figures.js", JAVASCRIPT)),
        ("group.js", packed!("group.js", JAVASCRIPT)),
        ("kafka.js", packed!("kafka.js", JAVASCRIPT)),
        ("metrics.js", packed!("metrics.js", JAVASCRIPT)),
        ("partitions.js", packed!("partitions.js", JAVASCRIPT)),
        ("refused.js", packed!("refused.js", JAVASCRIPT)),
        ("rejections.js", packed!("rejections.js", JAVASCRIPT)),
        ("stream.js", packed!("stream.js", JAVASCRIPT)),
        ("troubles.js", packed!("troubles.js", JAVASCRIPT)),
    ],
    // Scripts, styles and answers of this service, and nothing from elsewhere; no text becomes markup.
    policy: "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
};
