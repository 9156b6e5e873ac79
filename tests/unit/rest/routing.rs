//! Unknown paths and methods.

use super::service::Service;

const PATHS: [(&str, &str); 9] = [
    ("/events/generate", "POST, OPTIONS"),
    ("/events/processed", "GET, HEAD, OPTIONS"),
    ("/events/processed/0190163d-8694-739b-aea5-966c26f8ad91", "GET, HEAD, OPTIONS"),
    ("/api/events", "GET, HEAD, POST, OPTIONS"),
    ("/api/events/user/u", "GET, HEAD, OPTIONS"),
    ("/api/events/type/LOGIN", "GET, HEAD, OPTIONS"),
    ("/health", "GET, HEAD, OPTIONS"),
    ("/ready", "GET, HEAD, OPTIONS"),
    ("/metrics", "GET, HEAD, OPTIONS"),
];

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_405_with_those_that_it_takes() {
    let service = Service::new();
    for (path, allow) in PATHS {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"] {
            let answer = service.send(warp::test::request().method(method).path(path)).await;
            if allow.split(", ").any(|allowed| allowed == method) {
                assert_ne!(answer.status(), 405, "{method} {path}");
            } else {
                answer.problem(405);
                assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn options_lists_the_methods_of_a_path() {
    for (path, allow) in PATHS {
        let answer = Service::new().send(warp::test::request().method("OPTIONS").path(path)).await;
        assert_eq!((answer.status(), answer.header("allow")), (204, Some(allow)), "{path}");
    }
}

#[tokio::test]
async fn options_of_the_whole_service_are_204() {
    let answer = Service::new().send(warp::test::request().method("OPTIONS").path("*")).await;
    assert_eq!((answer.status(), answer.header("allow")), (204, None));
}

#[tokio::test]
async fn an_unknown_path_is_404_for_every_method() {
    let service = Service::new();
    for path in [
        "/",
        "/events",
        "/api",
        "/api/events/user",
        "/api/events/user/",
        "/api/events/group/x",
        "/events//processed",
        "/events/processed/a/b",
        "/Health",
        "/health/more",
        "/favicon.ico",
        "/%2e%2e/health",
        "/api/events/user/a/b",
    ] {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            service.send(warp::test::request().method(method).path(path)).await.problem(404);
        }
    }
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let service = Service::new();
    service.get("/health/").await.ok(200);
    service.get("/events/processed/").await.ok(200);
    assert_eq!(service.send(warp::test::request().method("PUT").path("/health/")).await.status(), 405);
}
