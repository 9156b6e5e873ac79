//! The routes of dead letters: permissions and parameters, without Kafka.

use std::{sync::Arc, time::Duration};

use highwater_kafka::{Cluster, ClusterConfig, ConsumerConfig, Topic, TopicConfig};
use highwater_web::{
    dead_letters::{DlqAdmin, Topics},
    http::{AdminAuth, BearerToken},
};

use super::service::{Answer, Service};

const TOKEN: &str = "a-token-of-24-characters";

/// A service whose admin is open, and whose Kafka is away.
fn service() -> Service {
    let mut service = Service::new();
    let second = Duration::from_secs(1);
    let cluster = ClusterConfig::new(vec!["127.0.0.1:1".to_owned()])
        .with_client_id("test".to_owned())
        .with_connect_timeout(second)
        .with_request_timeout(second);
    let consumer = ConsumerConfig::new("group").with_session_timeout(second).with_metadata_max_age(second);
    let cluster = Arc::new(Cluster::new(cluster).unwrap());
    let dead_letters =
        Topic::follow(Arc::clone(&cluster), TopicConfig::new("dead-letters"), second, Arc::default());
    let topics =
        Topics { cluster, dead_letters, source: "source".into(), publisher: service.publisher.clone() };
    let admin_auth = Arc::new(AdminAuth::new(BearerToken::new(TOKEN)));
    let admin = DlqAdmin::new(topics, &consumer, Arc::clone(&admin_auth), 3, service.limits, 4 * second);
    service.dead_letters = Some(Arc::new(admin));
    service.admin_auth = Some(admin_auth);
    service
}

async fn ask(service: &Service, method: &str, path: &str, authorization: Option<&str>, body: &str) -> Answer {
    let mut request = warp::test::request().method(method).path(path).body(body);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    service.send(request).await
}

#[tokio::test]
async fn without_a_token_in_the_settings_the_routes_are_not_there() {
    let service = Service::new();
    for (method, path) in [
        ("GET", "/dead-letters"),
        ("HEAD", "/dead-letters"),
        ("OPTIONS", "/dead-letters"),
        ("POST", "/dead-letters/redrive"),
        ("PUT", "/dead-letters/redrive"),
    ] {
        let answer = ask(&service, method, path, Some("Bearer a-token-of-24-characters"), "").await;
        let unknown = ask(&service, method, "/dead-letterz", None, "").await;
        assert_eq!(answer.status(), 404, "{method} {path}");
        assert_eq!(answer.0.headers(), unknown.0.headers(), "as any unknown route");
    }
}

#[tokio::test]
async fn whoever_does_not_bear_the_token_gets_401_and_is_told_what_is_taken() {
    let wrong = [
        "Bearer a-token-of-24-characterz",
        "Bearer a-token-of-24-character",
        "Bearer a-token-of-24-characters2",
        "Bearer",
        "Bearer ",
        "",
        "Basic YS10b2tlbi1vZi0yNC1jaGFyYWN0ZXJz",
        "a-token-of-24-characters",
        "Bearer  \u{e9}",
    ];
    for (method, path) in [("GET", "/dead-letters?limit=0"), ("POST", "/dead-letters/redrive")] {
        // Ten wrong tokens are too many for one door.
        let service = service();
        let none = ask(&service, method, path, None, "{").await;
        none.problem(401);
        assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"highwater\""));
        for authorization in wrong {
            let answer = ask(&service, method, path, Some(authorization), "{").await;
            assert!(!answer.problem(401).to_string().contains("a-token"), "{authorization}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert_eq!(challenge, "Bearer realm=\"highwater\", error=\"invalid_token\"", "{authorization}");
        }
        for right in ["Bearer a-token-of-24-characters", "bearer a-token-of-24-characters"] {
            ask(&service, method, path, Some(right), "{").await.problem(400);
        }
    }
}

#[test]
fn a_token_is_not_shown() {
    assert_eq!(format!("{:?}", BearerToken::new(TOKEN)), "Bearer(…)");
}

#[tokio::test]
async fn every_fault_of_a_query_is_named() {
    let service = service();
    let bearer = Some("Bearer a-token-of-24-characters");
    let path = "/dead-letters?limit=0&cursor=x&from=yesterday&to=2026&partition=-1&reason=%ff";
    let faults = ask(&service, "GET", path, bearer, "").await.faults();
    assert_eq!(faults, ["reason", "partition", "from", "to", "limit", "cursor"]);
    assert_eq!(ask(&service, "GET", "/dead-letters?topic=x", bearer, "").await.faults(), ["topic"]);
    for (body, field) in
        [(r#"{"all":false}"#, "all"), (r#"{"reason":""}"#, "reason"), (r#"{"positions":[]}"#, "positions")]
    {
        assert_eq!(ask(&service, "POST", "/dead-letters/redrive", bearer, body).await.faults(), [field]);
    }
    for body in [
        "",
        "{}",
        "[]",
        r#"{"all":true,"reason":"x"}"#,
        r#"{"every":true}"#,
        r#"{"positions":[{"partition":0}]}"#,
        r#"{"positions":["0/1"]}"#,
    ] {
        assert!(
            ask(&service, "POST", "/dead-letters/redrive", bearer, body).await.faults().is_empty(),
            "{body}"
        );
    }
}

#[tokio::test]
async fn without_kafka_both_are_503() {
    let service = service();
    let bearer = Some("Bearer a-token-of-24-characters");
    let listed = ask(&service, "GET", "/dead-letters", bearer, "").await;
    assert!(listed.problem(503)["detail"].as_str().unwrap().contains("cannot be read"));
    assert_eq!(listed.header("retry-after"), Some("1"));
    let body = r#"{"all":true}"#;
    let sent = ask(&service, "POST", "/dead-letters/redrive", bearer, body).await;
    assert!(sent.problem(503)["detail"].as_str().unwrap().contains("cannot"));
    assert_eq!(sent.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn another_method_is_405_and_options_tells_those_there_are() {
    let service = service();
    for (path, allow) in [("/dead-letters", "GET, HEAD, OPTIONS"), ("/dead-letters/redrive", "POST, OPTIONS")]
    {
        for (method, status) in [("DELETE", 405), ("OPTIONS", 204)] {
            let answer = ask(&service, method, path, None, "").await;
            assert_eq!((answer.status(), answer.header("allow")), (status, Some(allow)), "{method} {path}");
        }
    }
}
