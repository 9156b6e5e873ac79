//! Pages of other sites: which may ask, what they hear, and that what a browser asks first needs no credential.

use highwater_web::{
    auth::{AuthConfig, Scope},
    http::{
        AllowedOrigins, Cors,
        client::{Request, Response},
    },
};

use super::{Guarded, Keyring};
use crate::rest::service::Service;

const SHOP: &str = "https://shop.example";

fn cors(credentials: bool) -> Cors {
    let headers = vec!["traceparent".parse().unwrap()];
    Cors { origins: AllowedOrigins::These(vec![SHOP.to_owned()]), headers, credentials }
}

async fn guarded(auth: AuthConfig, cors: Option<Cors>) -> Guarded {
    Guarded::with(Service::new(), auth, |config| config.cors = cors).await
}

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/api/events")
        .with("origin", origin)
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "authorization, content-type")
}

fn allowed(answer: &Response) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_is_authenticated_and_names_methods_and_headers() {
    let keys = Keyring::new();
    keys.add("shop", &[Scope::Read]);
    let guarded = guarded(keys.auth(), Some(cors(false))).await;
    let answer = guarded.ask(preflight(SHOP)).await;
    assert_eq!((answer.status, allowed(&answer)), (204, Some(SHOP)));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
    let headers = answer.header("access-control-allow-headers").unwrap();
    for name in
        ["authorization", "content-type", "idempotency-key", "x-api-key", "x-retry-count", "traceparent"]
    {
        assert!(headers.split(", ").any(|known| known == name), "{headers}");
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("vary"), Some("origin"));
}

#[tokio::test]
async fn a_page_reads_a_refusal_too() {
    let keys = Keyring::new();
    keys.add("shop", &[Scope::Read]);
    let guarded = guarded(keys.auth(), Some(cors(true))).await;
    let answer = guarded.ask(Request::get("/api/events").with("origin", SHOP)).await;
    assert_eq!((answer.status, allowed(&answer)), (401, Some(SHOP)));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("www-authenticate"));
}

#[tokio::test]
async fn another_site_hears_no_and_so_does_every_site_where_none_is_named() {
    let named = guarded(AuthConfig::default(), Some(cors(false))).await;
    let none = guarded(AuthConfig::default(), None).await;
    for (guarded, origin) in [
        (&named, "https://evil.example"),
        (&named, "https://shop.example.evil.example"),
        (&named, "http://shop.example"),
        (&named, "https://shop.example:8443"),
        (&named, "null"),
        (&none, SHOP),
    ] {
        let asked = guarded.ask(preflight(origin)).await;
        assert_eq!((asked.status, allowed(&asked)), (204, None), "{origin}");
        let post = Request::post("/api/events", r#"{"userId":"ann","eventType":"LOGIN"}"#);
        let posted = guarded.ask(post.with("origin", origin).with("sec-fetch-site", "cross-site")).await;
        assert_eq!((posted.status, allowed(&posted)), (403, None), "{origin}");
    }
    let post = Request::post("/api/events", r#"{"userId":"ann","eventType":"LOGIN"}"#);
    let posted = named.ask(post.with("origin", SHOP).with("sec-fetch-site", "cross-site")).await;
    assert_eq!((posted.status, allowed(&posted)), (202, Some(SHOP)));
}

#[tokio::test]
async fn a_request_of_two_origins_is_of_neither() {
    let guarded = guarded(AuthConfig::default(), Some(cors(true))).await;
    let post = || Request::post("/api/events", r#"{"userId":"ann","eventType":"LOGIN"}"#);
    for request in [Request::get("/api/events"), post(), preflight(SHOP)] {
        for others in [["https://evil.example", SHOP], [SHOP, "https://evil.example"], [SHOP, SHOP]] {
            // The client has one header of each name; case makes two of it.
            let request = request.clone().with("origin", others[0]).with("Origin", others[1]);
            let answer = guarded.ask(request).await;
            assert_eq!((answer.status, allowed(&answer)), (400, None), "{others:?}");
        }
    }
    assert!(guarded.service.sent().is_empty());
}
