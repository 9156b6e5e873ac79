//! All routes of a service, walked one by one: each asks for what the table says, and none is open by being forgotten.

use std::sync::Arc;

use highwater_eventlog as eventlog;
use highwater_web::{
    auth::{Need, Scope},
    http::{AdminAuth, Paths, client::Request},
};
use serde_json::json;
use warp::{Filter as _, Reply as _, http::StatusCode};

use super::{Guarded, Keyring, refused, with_token};
use crate::{eventlog::fakes, journal, rest::service::Service};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Asks for each path of the table by each method, without a key and with one that may do everything.
async fn walk<S>(guarded: &Guarded<S>, paths: &Paths, key: &str) {
    for (pattern, methods, need) in paths.all() {
        let file = if pattern.starts_with("/console") { "style.css" } else { "swagger-ui.css" };
        // A stream that begins has no end.
        let stream = pattern.replace("/events/stream", "/events/stream?limit=1");
        let path = stream.replace("{file}", file).replace("{call}", "track");
        for method in METHODS {
            let stranger = guarded.ask(Request::new(method, path.as_str())).await;
            assert_eq!(
                stranger.status == 401,
                *need != Need::Nothing,
                "{method} {path}: {}",
                stranger.status
            );
            // Without a cluster they are not there.
            if path.starts_with("/dead-letters") {
                continue;
            }
            let client = guarded.ask(with_token(Request::new(method, path.as_str()), key)).await;
            let is_taken = methods.split(", ").any(|known| known == method);
            assert_eq!(client.status == 405, !is_taken, "{method} {path}: {}", client.status);
            assert!(![401, 403].contains(&client.status), "{method} {path}: {}", client.status);
            let is_nothing = client.status == 404 && client.text().contains("there is nothing at");
            assert!(!is_nothing, "{method} {path} is in the table, and no route");
        }
    }
}

#[tokio::test]
async fn each_route_of_the_activity_service_asks_for_what_the_table_says() {
    let keys = Keyring::new();
    let key = keys.add("all", &Scope::ALL);
    walk(&with_admins(&keys).await, &highwater::activity::PATHS, &key).await;
}

#[tokio::test]
async fn an_erasure_needs_the_scope_admin_whoever_the_user_is() {
    let keys = Keyring::new();
    let (admin, ann) =
        (keys.add("admin", &[Scope::Admin]), keys.add("ann", &[Scope::Read, Scope::Write, Scope::WriteOwn]));
    journal::listen();
    let guarded = with_admins(&keys).await;
    for (method, path, action) in [
        ("DELETE", "/api/events/user/ann", "erasing a user's events"),
        ("GET", "/api/events/erasures/2-29", "asking for an erasure"),
    ] {
        refused(&guarded.ask(Request::new(method, path)).await, 401);
        let (_, challenge) = refused(&guarded.ask(with_token(Request::new(method, path), &ann)).await, 403);
        assert!(challenge.ends_with("scope=\"admin\""), "{challenge}");
        let status = guarded.ask(with_token(Request::new(method, path), &admin)).await.status;
        assert!([200, 202].contains(&status), "{method} {path}: {status}");
        let request = format!("{method} {path}");
        let told = [
            ["unknown", "127.0.0.1", &request, "missing"],
            ["ann", "127.0.0.1", &request, "forbidden"],
            ["admin", "127.0.0.1", action, "admitted"],
        ];
        assert_eq!(journal::take_audit(), told);
    }
    assert_eq!(guarded.get("/api/events/user/ann", &ann).await.status, 200);
    assert_eq!(guarded.get("/api/events/user/ann", &admin).await.status, 403);
}

#[tokio::test]
async fn a_refused_event_is_listed_with_the_name_of_its_key_for_admins_alone() {
    let keys = Keyring::new();
    let (writer, admin) = (keys.add("writer", &[Scope::Write]), keys.add("admin", &[Scope::Admin]));
    let guarded = with_admins(&keys).await;
    assert_eq!(guarded.post(" ", &writer).await.status, 400);
    assert_eq!(guarded.get("/rejections", &writer).await.status, 403);
    let listed = guarded.get("/rejections", &admin).await;
    let listed: serde_json::Value = serde_json::from_str(&listed.text()).unwrap();
    assert_eq!((&listed["count"], &listed["rejections"][0]["client"]), (&1.into(), &"writer".into()));
}

#[tokio::test]
async fn posts_that_the_gate_refuses_are_listed_with_the_client_where_it_is_known() {
    let keys = Keyring::new();
    let (reader, admin) = (keys.add("reader", &[Scope::Read]), keys.add("admin", &[Scope::Admin]));
    let busy = keys.add_limited("busy", &[Scope::Write], Some(1));
    let guarded = with_admins(&keys).await;
    let event = json!({ "userId": "ann", "eventType": "LOGIN" }).to_string();
    let post = async |path: &str, key: &str, id: &str| {
        let request = with_token(Request::post(path, event.clone()), key);
        guarded.ask(request.with("x-correlation-id", id)).await.status
    };
    assert_eq!(post("/events/generate", "", "without").await, 401);
    assert_eq!(post("/events/batch", "nonsense", "wrong").await, 401);
    assert_eq!(post("/v1/track", &reader, "reader's").await, 403);
    while post("/api/events", &busy, "busy's").await != 429 {}
    // These are about no event of theirs.
    assert_eq!(guarded.get("/events/processed", "").await.status, 401);
    assert_eq!(guarded.get("/rejections", &reader).await.status, 403);
    assert_eq!(guarded.ask(Request::post("/dead-letters/redrive", "{}")).await.status, 401);

    let listed = guarded.get("/rejections", &admin).await.json();
    let told = listed["rejections"].as_array().unwrap().iter().rev();
    let told: Vec<_> = told.map(|it| json!([it["status"], it["client"], it["correlationId"]])).collect();
    let expected = json!([
        [401, null, "without"],
        [401, null, "wrong"],
        [403, "reader", "reader's"],
        [429, "busy", "busy's"],
    ]);
    assert_eq!(json!(told), expected);
}

/// The activity service, which admins look after by their keys.
async fn with_admins(keys: &Keyring) -> Guarded {
    let service = Service { admin_auth: Some(Arc::new(AdminAuth::new(None))), ..Service::new() };
    Guarded::with(service, keys.auth(), |_| ()).await
}

#[tokio::test]
async fn each_route_of_the_event_log_asks_for_what_the_table_says() {
    let keys = Keyring::new();
    let key = keys.add("all", &Scope::ALL);
    let service = fakes::Service::new();
    let tree = eventlog::routes(service.api());
    let guarded = Guarded::of(service, tree, &eventlog::PATHS, keys.auth(), |_| ()).await;
    walk(&guarded, &eventlog::PATHS, &key).await;
}

#[tokio::test]
async fn a_route_that_the_table_forgot_is_closed_to_everybody() {
    static PATHS: Paths = Paths(&[&[("/known", "GET, OPTIONS", Need::Events)]]);
    let keys = Keyring::new();
    let key = keys.add("all", &Scope::ALL);
    let tree =
        || warp::path!("known").or(warp::path!("forgotten")).unify().map(|| StatusCode::OK.into_response());
    let tree = || tree().recover(highwater_web::http::unrouted).unify();
    let guarded = Guarded::of((), tree(), &PATHS, keys.auth(), |_| ()).await;
    assert_eq!(guarded.get("/known", &key).await.status, 200);
    assert_eq!(guarded.get("/known", "").await.status, 401);
    for token in ["", key.as_str()] {
        let (problem, _) = refused(&guarded.get("/forgotten", token).await, 404);
        assert_eq!(problem["detail"], "there is nothing at /forgotten");
    }
    let open = Guarded::of((), tree(), &PATHS, Default::default(), |_| ()).await;
    assert_eq!(open.get("/forgotten", "").await.status, 200, "it is there");
}

#[tokio::test]
async fn in_the_event_log_a_client_for_what_is_its_own_sees_and_writes_nobody_elses() {
    let keys = Keyring::new();
    let (ann, shop) =
        (keys.add("ann", &[Scope::ReadOwn, Scope::WriteOwn]), keys.add("shop", &[Scope::Write]));
    let reader = keys.add("reader", &[Scope::Read]);
    let service = fakes::Service::new();
    let tree = eventlog::routes(service.api());
    let guarded = Guarded::of(service, tree, &eventlog::PATHS, keys.auth(), |_| ()).await;
    let post = async |user: &str, key: &str| {
        let event = json!({ "userId": user, "eventType": "LOGIN", "details": { "of": user } }).to_string();
        guarded.ask(with_token(Request::post("/events", event), key)).await
    };
    assert_eq!((post("ann", &ann).await.status, post("ann", &reader).await.status), (201, 403));
    let (_, challenge) = refused(&post("bob", &ann).await, 403);
    assert!(challenge.ends_with("scope=\"events:write\""), "{challenge}");
    let of_bob = post("bob", &shop).await.json()["eventId"].as_str().unwrap().to_owned();
    let status = async |path: String, key: &str| guarded.get(&path, key).await.status;
    assert_eq!(status("/events/ann".to_owned(), &ann).await, 200);
    for path in ["/events/bob".to_owned(), "/events/%62ob".to_owned(), format!("/events/bob/{of_bob}")] {
        assert_eq!(status(path.clone(), &ann).await, 403, "{path}");
        assert_eq!(status(path.clone(), &shop).await, 403, "{path}");
        assert_eq!(status(path.clone(), &reader).await, 200, "{path}");
    }
    // Under its own name another's event is not there.
    assert_eq!(status(format!("/events/ann/{of_bob}"), &ann).await, 404);
    assert_eq!(status("/metrics".to_owned(), &ann).await, 403);
    assert_eq!(guarded.service.metadata.rows.lock().unwrap().len(), 2);
}
