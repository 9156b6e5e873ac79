//! Keys before the routes: the clients that are admitted, their rights, and the refusals of others.

use std::{fs, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use highwater::activity::EventStreams;
use highwater_web::{
    auth::{AuthConfig, Scope, cli::KeyCommand},
    http::client::Request,
};
use uuid::Uuid;

use super::{Guarded, Keyring, refused, with_token};
use crate::{
    journal,
    rest::service::{Service, event},
};

#[tokio::test]
async fn without_a_credential_all_but_health_and_documents_is_refused() {
    let keys = Keyring::new();
    keys.add("shop", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    for path in ["/health", "/ready/read", "/openapi.json", "/swagger", "/console", "/console/console.js"] {
        assert_ne!(guarded.get(path, "").await.status, 401, "{path}");
    }
    for path in ["/events/processed", "/api/events", "/api/events/user/ann", "/group", "/metrics"] {
        let (problem, challenge) = refused(&guarded.get(path, "").await, 401);
        assert_eq!(challenge, "Bearer realm=\"highwater\"", "{path}");
        assert!(problem["detail"].as_str().unwrap().starts_with("a key or a token is needed"), "{problem}");
    }
    refused(&guarded.post("ann", "").await, 401);
    assert!(guarded.service.sent().is_empty());
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_name() {
    let keys = Keyring::new();
    let (reader, writer) = (keys.add("reader", &[Scope::Read]), keys.add("writer", &[Scope::Write]));
    let admin = keys.add("admin", &[Scope::Admin]);
    let guarded = Guarded::by(keys.auth()).await;
    assert_eq!(guarded.get("/api/events", &reader).await.status, 200);
    assert_eq!(guarded.post("ann", &writer).await.status, 201);
    assert_eq!(guarded.get("/metrics", &admin).await.status, 200);
    for (answer, scope) in [
        (guarded.post("ann", &reader).await, "events:write"),
        (guarded.get("/api/events", &writer).await, "events:read"),
        (guarded.get("/api/events", &admin).await, "events:read"),
        (guarded.get("/group", &writer).await, "admin"),
    ] {
        let (_, challenge) = refused(&answer, 403);
        let wanted = format!("Bearer realm=\"highwater\", error=\"insufficient_scope\", scope=\"{scope}\"");
        assert_eq!(challenge, wanted);
    }
    assert_eq!(guarded.service.sent().len(), 1);
}

#[tokio::test]
async fn a_key_is_sent_in_either_header_and_in_one_of_them() {
    let keys = Keyring::new();
    let key = keys.add("reader", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    let get = || Request::get("/api/events");
    let basic = |user: &str| format!("Basic {}", BASE64_STANDARD.encode(user));
    for (name, value) in [
        ("authorization", basic(&format!("{key}:"))),
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer  {key} ")),
        ("x-api-key", key.clone()),
    ] {
        assert_eq!(guarded.ask(get().with(name, value)).await.status, 200, "{name}");
    }
    let both = get().with("authorization", format!("Bearer {key}")).with("x-api-key", key.clone());
    let (_, challenge) = refused(&guarded.ask(both).await, 400);
    assert!(challenge.ends_with("error=\"invalid_request\""), "{challenge}");
    for (name, value) in [
        ("authorization", key.clone()),
        ("authorization", format!("Basic {key}")),
        ("authorization", basic(&key)),
        ("authorization", basic(&format!("{key}:password"))),
        ("authorization", basic(&format!(":{key}"))),
        ("authorization", basic(":")),
        ("x-api-key", format!("Bearer {key}")),
        ("x-api-key", "hw_".to_owned()),
        ("x-api-key", String::new()),
    ] {
        let (_, challenge) = refused(&guarded.ask(get().with(name, value)).await, 401);
        assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}");
    }
}

#[tokio::test]
async fn a_key_that_is_added_or_revoked_counts_without_a_restart_and_no_request_is_lost_meanwhile() {
    let keys = Keyring::new();
    let first = keys.add("first", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    let second = keys.add("second", &[Scope::Read]);
    while guarded.get("/api/events", &second).await.status == 401 {
        assert_eq!(guarded.get("/api/events", &first).await.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    keys.run(KeyCommand::Revoke { name: "first".to_owned() }).unwrap();
    while guarded.get("/api/events", &first).await.status == 200 {
        assert_eq!(guarded.get("/api/events", &second).await.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // A file that cannot be read changes nothing.
    fs::write(&keys.0, "{").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(guarded.get("/api/events", &second).await.status, 200);
    fs::remove_file(&keys.0).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(guarded.get("/api/events", &second).await.status, 200);
}

#[tokio::test]
async fn a_key_ends_when_it_expires() {
    let keys = Keyring::new();
    let expires = Some(std::time::Duration::from_secs(1));
    let (scopes, none) = (vec![Scope::Read], None);
    let task = KeyCommand::Add {
        name: "brief".to_owned(),
        scopes,
        expires,
        requests_per_second: none,
        events_per_second: none,
    };
    let key = keys.run(task).unwrap().trim_end().to_owned();
    let guarded = Guarded::by(keys.auth()).await;
    let ended = loop {
        let answer = guarded.get("/api/events", &key).await;
        if answer.status != 200 {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let (problem, _) = refused(&ended, 401);
    assert_eq!(problem["detail"], "the key or token has expired, or is not valid yet");
}

#[tokio::test]
async fn a_client_has_at_most_a_quarter_of_the_places_for_streams() {
    let keys = Keyring::new();
    let (one, other) = (keys.add("one", &[Scope::Read]), keys.add("other", &[Scope::Read]));
    let service = Service { streams: Arc::new(EventStreams::new(8)), ..Service::new() };
    let guarded = Guarded::with(service, keys.auth(), |_| ()).await;
    guarded.service.holds(&[0]);
    let open = async |key: &str| {
        let address = format!("http://{}/events/stream", guarded.address);
        reqwest::Client::new().get(address).bearer_auth(key).send().await.unwrap()
    };
    let (first, second) = (open(&one).await, open(&one).await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let refused = open(&one).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    assert_eq!(open(&other).await.status(), 200);
    drop(first);
    for number in 0.. {
        if open(&one).await.status() == 200 {
            break;
        }
        // That its client is gone is found by what is sent to it.
        guarded.service.admit_all(number..number + 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_key_expires() {
    let keys = Keyring::new();
    let task = KeyCommand::Add {
        name: "brief".to_owned(),
        scopes: vec![Scope::Read],
        expires: Some(std::time::Duration::from_secs(2)),
        requests_per_second: None,
        events_per_second: None,
    };
    let key = keys.run(task).unwrap().trim_end().to_owned();
    let guarded = Guarded::by(keys.auth()).await;
    guarded.service.holds(&[0]);
    let stream = guarded.get("/events/stream", &key).await;
    assert!(stream.text().contains("\"renewed\""), "{}", stream.text());
}

#[tokio::test]
async fn a_key_for_what_is_its_own_reads_and_writes_nobody_elses() {
    let keys = Keyring::new();
    let ann = keys.add("ann", &[Scope::ReadOwn, Scope::WriteOwn]);
    let service = Service::new();
    let (own, other) = (event(1, "ann", "LOGIN"), event(2, "bob", "LOGIN"));
    let (own_id, other_id) = (own.id(), other.id());
    for event in [own, other] {
        service.processed(event).await;
    }
    let guarded = Guarded::with(service, keys.auth(), |_| ()).await;
    let get = async |path: String| guarded.get(&path, &ann).await;
    let users = |events: &serde_json::Value| -> Vec<String> {
        let events = events.as_array().unwrap();
        events.iter().map(|event| event["userId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(users(&get("/events/processed".to_owned()).await.json()), ["ann"]);
    for path in ["/api/events", "/api/events/type/LOGIN", "/api/events/user/ann", "/api/events?userId=ann"] {
        assert_eq!(users(&get(path.to_owned()).await.json()["events"]), ["ann"], "{path}");
    }
    for path in [
        "/api/events/user/bob",
        "/api/events?userId=bob",
        "/events/processed?userId=bob",
        "/events/stream?userId=bob",
    ] {
        let (_, challenge) = refused(&get(path.to_owned()).await, 403);
        assert!(challenge.ends_with("scope=\"events:read\""), "{challenge}");
    }
    guarded.service.holds(&[0]);
    let address = format!("http://{}/events/stream?cursor=0-0", guarded.address);
    let mut stream = reqwest::Client::new().get(address).bearer_auth(&ann).send().await.unwrap();
    let mut sent = String::new();
    while !sent.contains("data: ") {
        sent.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(sent.contains("\"ann\"") && !sent.contains("\"bob\""), "{sent}");
    assert_eq!(get(format!("/events/processed/{own_id}")).await.status, 200);
    // Of another's event it does not even hear that it is there.
    let unknown = get(format!("/events/processed/{}", Uuid::from_u128(77))).await;
    let others = get(format!("/events/processed/{other_id}")).await;
    assert_eq!((unknown.status, others.status), (404, 404));
    assert_eq!(guarded.post("ann", &ann).await.status, 201);
    let (_, challenge) = refused(&guarded.post("bob", &ann).await, 403);
    assert!(challenge.ends_with("scope=\"events:write\""), "{challenge}");
    assert_eq!(guarded.service.sent().len(), 1);
}

#[tokio::test]
async fn requests_are_counted_by_the_names_of_keys_and_refusals_by_their_reason() {
    let keys = Keyring::new();
    let key = keys.add("shop", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    for _ in 0..3 {
        guarded.get("/api/events", &key).await;
    }
    guarded.post("ann", &key).await;
    guarded.post("ann", "").await;
    guarded.post("ann", &key.replace("hw_", "hw-")).await;
    let of = |outcome| {
        guarded.counted(&format!("highwater_client_requests_total{{client=\"shop\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((of("admitted"), of("forbidden"), of("limited")), (Some(3), Some(1), Some(0)));
    let refused = |reason| guarded.counted(&format!("highwater_auth_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((refused("missing"), refused("invalid")), (Some(1), Some(1)));
}

#[tokio::test]
async fn each_refused_credential_is_in_the_audit_without_a_secret_and_a_storm_is_sampled() {
    journal::listen();
    let keys = Keyring::new();
    let key = keys.add("shop", &[Scope::Read]);
    let own = keys.add("ann", &[Scope::WriteOwn]);
    let guarded = Guarded::by(keys.auth()).await;
    let wrong = format!("hw_{}", "A".repeat(43));
    guarded.get("/api/events?secret=1", &wrong).await;
    guarded.post("ann", &key).await;
    guarded.post("bob", &own).await;
    let lines = journal::take();
    let told: Vec<_> = lines.iter().filter(|line| line.target == "highwater::audit").collect();
    assert_eq!(told.len(), 3, "{told:?}");
    let fields = |at: usize, names: [&str; 3]| names.map(|name| told[at].fields[name].clone());
    let names = ["who", "action", "outcome"];
    assert_eq!(fields(0, names), ["unknown", "GET /api/events", "refused"]);
    assert_eq!(
        (told[0].fields["reason"].as_str(), told[0].fields["address"].as_str()),
        ("invalid", "127.0.0.1")
    );
    assert_eq!(fields(1, names), ["shop", "POST /events/generate", "forbidden"]);
    assert_eq!(fields(2, names), ["ann", "POST /events/generate", "forbidden"]);
    let all = format!("{lines:?}");
    assert!(!all.contains(&wrong) && !all.contains(&key) && !all.contains("secret=1"), "{all}");
    for _ in 0..40 {
        guarded.get("/api/events", &wrong).await;
    }
    let stormed = journal::take().iter().filter(|line| line.target == "highwater::audit").count();
    assert!((1..40).contains(&stormed), "{stormed}");
}

#[tokio::test]
async fn what_no_route_takes_is_told_to_anyone_and_who_asks_for_nothing_but_methods_needs_no_key() {
    let keys = Keyring::new();
    keys.add("shop", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    assert_eq!(guarded.get("/nowhere", "").await.status, 404);
    let options = guarded.ask(Request::new("OPTIONS", "/api/events")).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
}

#[tokio::test]
async fn without_auth_everything_is_as_it_was() {
    let guarded = Guarded::by(AuthConfig::default()).await;
    assert_eq!(guarded.get("/api/events", "").await.status, 200);
    assert_eq!(guarded.get("/metrics", "").await.status, 200);
    let with = with_token(Request::get("/api/events"), "whatever");
    assert_eq!(guarded.ask(with).await.status, 200);
    let posted = guarded.post("ann", "").await;
    assert_eq!(posted.status, 201, "{}", posted.text());
    assert_eq!(posted.header("ratelimit"), None);
    assert!(guarded.counted("highwater_auth_refused_total{reason=\"missing\"}").is_none());
}
