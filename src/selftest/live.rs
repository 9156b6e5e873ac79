//! Checks of the running service: health, bad requests, listings. They store nothing.

use anyhow::ensure;
use highwater_web::http::{Https, NDJSON, client::Request};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    checks::{ServiceUnderTest, shown},
    report::Report,
};
use crate::config::Config;

/// Checks the service that runs with these settings. It has no user called `user`, before and after.
pub(super) async fn check(service: &ServiceUnderTest, config: &Config, user: &str, report: &mut Report<'_>) {
    if !report.check("GET /health: it is up", is_up(service).await) {
        return; // no other request would succeed
    }
    report.check("GET /ready: it takes traffic", service.read("/ready").await.map(drop));
    if config.http.https.as_ref().is_some_and(Https::knows_its_clients) {
        let refused = service.refuses(&Request::get("/events/processed"), 403, None).await;
        report.check("GET /events/processed without a client certificate: 403", refused.map(drop));
        return; // as nothing else can be asked without one
    }
    report.check("HEAD and OPTIONS beside GET", beside_get(service).await);
    for route in ["/events/generate", "/api/events"] {
        for refused in refused_events(route, config, user) {
            let what = format!("POST {route}: {} for {}", refused.status, refused.what);
            let answer = service.refuses(&refused.request, refused.status, refused.field).await;
            report.check(&what, answer.map(drop));
        }
    }
    let unknown = Uuid::new_v4();
    for (path, status, field) in [
        (format!("/events/processed/{unknown}"), 404, None),
        ("/events/processed/1".to_owned(), 400, Some("eventId")),
        (format!("/events/processed/{unknown}?wait=1h"), 400, Some("wait")),
        ("/events/processed?limit=0".to_owned(), 400, Some("limit")),
        ("/events/processed?cursor=1".to_owned(), 400, Some("cursor")),
        ("/api/events?from=yesterday".to_owned(), 400, Some("from")),
        ("/api/events/user/%ff".to_owned(), 400, Some("userId")),
        ("/nowhere".to_owned(), 404, None),
    ] {
        let answer = service.refuses(&Request::get(path.as_str()), status, field).await;
        report.check(
            &format!("GET {}: {status}", path.replace(&unknown.to_string(), "{eventId}")),
            answer.map(drop),
        );
    }
    for (method, path) in [("DELETE", "/events/generate"), ("PUT", "/api/events"), ("POST", "/health")] {
        let refused = service.refuses(&Request::new(method, path), 405, None).await.and_then(|answer| {
            ensure!(
                answer.header("allow").is_some_and(|allow| !allow.contains(method)),
                "without a fitting Allow"
            );
            Ok(())
        });
        report.check(&format!("{method} {path}: 405 with Allow"), refused);
    }
    report.check("GET /events/processed: an array, or a line an event", lists(service).await);
    report.check("GET /api/events: events and their count", wraps(service).await);
    report.check("and nothing of all this is in its data", has_nothing_of(service, user).await);
}

async fn is_up(service: &ServiceUnderTest) -> anyhow::Result<()> {
    let health = service.read("/health").await?;
    ensure!(
        health["status"] == "up" && health["service"] == env!("CARGO_PKG_NAME"),
        "another service: {health}"
    );
    Ok(())
}

async fn beside_get(service: &ServiceUnderTest) -> anyhow::Result<()> {
    let head = service.answers(200, &Request::new("HEAD", "/ready")).await?;
    ensure!(head.text().is_empty(), "a body after HEAD: {}", shown(&head));
    let options = service.ask(&Request::new("OPTIONS", "/health")).await?;
    ensure!(options.status < 300 && options.header("allow").is_some(), "no Allow: {}", shown(&options));
    Ok(())
}

async fn lists(service: &ServiceUnderTest) -> anyhow::Result<()> {
    let page = service.read("/events/processed?limit=1").await?;
    ensure!(page.as_array().is_some_and(|page| page.len() <= 1), "an array expected: {page}");
    let lines =
        service.answers(200, &Request::get("/events/processed?limit=1").with("accept", NDJSON)).await?;
    ensure!(lines.header("content-type") == Some(NDJSON), "{NDJSON} expected: {}", shown(&lines));
    Ok(())
}

async fn wraps(service: &ServiceUnderTest) -> anyhow::Result<()> {
    let page = service.read("/api/events?limit=1").await?;
    let events = page["events"].as_array().map(Vec::len);
    ensure!(events.is_some_and(|events| page["count"] == events), "events and count expected: {page}");
    Ok(())
}

async fn has_nothing_of(service: &ServiceUnderTest, user: &str) -> anyhow::Result<()> {
    let processed = service.read(&format!("/events/processed?userId={user}")).await?;
    ensure!(processed == json!([]), "{processed}");
    let of_user = service.read(&format!("/api/events/user/{user}")).await?;
    ensure!(of_user == json!({"userId": user, "events": [], "count": 0}), "{of_user}");
    let of_type = service.read(&format!("/api/events/type/{user}")).await?;
    ensure!(of_type == json!({"eventType": user, "events": [], "count": 0}), "{of_type}");
    Ok(())
}

/// A POST that must be refused, and its status.
struct Refused {
    what: &'static str,
    request: Request,
    status: u16,
    field: Option<&'static str>,
}

fn refused_events(route: &'static str, config: &Config, user: &str) -> Vec<Refused> {
    let generates = route == "/events/generate";
    let payload = if generates { "payload" } else { "metadata" };
    let good = json!({"userId": user, "eventType": config.activity.event_types.first(), payload: {}});
    // A valid event except for one field.
    let but = |what: &'static str, field: &'static str, value: Value| {
        let mut event = good.clone();
        event[field] = value;
        let request = Request::post(route, event.to_string());
        Refused { what, request, status: 400, field: Some(field) }
    };
    let body = |what: &'static str, body: String| Refused {
        what,
        request: Request::post(route, body),
        status: 400,
        field: None,
    };
    let (limits, long) = (&config.http, "x".repeat(257));
    let deep = "[".repeat(limits.max_depth + 1) + &"]".repeat(limits.max_depth + 1);
    let too_large = Request::post(route, "").with("content-length", (limits.max_body_bytes + 1).to_string());
    let mut refused = vec![
        body("an empty body", String::new()),
        body("what is no JSON", "{nope".to_owned()),
        body("JSON that is no object", "[1]".to_owned()),
        body("JSON that nests too deep", format!("{{\"userId\":\"{user}\",\"{payload}\":{deep}}}")),
        Refused {
            field: Some("userId"),
            ..body(
                "a field given twice",
                format!("{{\"userId\":\"{user}\",\"userId\":\"{user}\",\"eventType\":\"A\"}}"),
            )
        },
        but("no userId", "userId", Value::Null),
        but("a blank userId", "userId", json!(" ")),
        but("a userId that is no string", "userId", json!(1)),
        but("a userId too long", "userId", json!(long)),
        but("no eventType", "eventType", Value::Null),
        but("a blank eventType", "eventType", json!(" ")),
        but("an eventType that is no string", "eventType", json!({})),
        but("a payload that is no object", payload, json!([])),
        but("an eventId that is no UUID", "eventId", json!("1")),
        but("a timestamp that is none", "timestamp", json!("yesterday")),
        Refused { what: "a body too large", request: too_large, status: 413, field: None },
        Refused {
            what: "a body that is not JSON by its type",
            request: Request::post(route, good.to_string()).with("content-type", "text/plain"),
            status: 415,
            field: None,
        },
    ];
    if generates {
        refused.push(but("an eventType not in EVENT_TYPES", "eventType", json!(user)));
    } else {
        refused.push(but("an eventType too long", "eventType", json!(long)));
    }
    refused
}
