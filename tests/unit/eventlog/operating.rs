//! `/health`, `/ready`, `/metrics`, methods, and pages of other sites.

use highwater_eventlog::DatabaseError;

use super::fakes::{Service, Trouble, body};

#[tokio::test]
async fn health_tells_of_each_database_and_ready_needs_both() {
    let service = Service::new();
    let health = service.get("/health").await.ok(200);
    assert_eq!(health["service"], "highwater-eventlog");
    assert_eq!(health.get("kafka"), None);
    for database in ["sqlServer", "dynamoDb"] {
        assert_eq!(health["databases"][database]["connected"], true);
    }
    service.get("/ready").await.ok(200);

    let scripts = [("sqlServer", &service.metadata.script), ("dynamoDb", &service.details.script)];
    for (database, script) in scripts {
        script.set(
            "probe",
            Trouble::Fails(DatabaseError::Away("connection refused by 10.0.0.1".to_owned())),
            usize::MAX,
        );
        let health = service.get("/health").await.ok(200);
        let connected = ["sqlServer", "dynamoDb"].map(|one| health["databases"][one]["connected"] == true);
        assert_eq!(connected, ["sqlServer", "dynamoDb"].map(|one| one != database));
        let told = health["databases"][database]["error"].as_str().unwrap();
        let ready = service.get("/ready").await;
        for told in [told, ready.problem(503)["detail"].as_str().unwrap()] {
            assert!(told.contains("cannot be used"), "{told}");
            assert!(!told.contains("10.0.0.1"), "what is inside stays inside: {told}");
        }
        script.clear();
        service.get("/ready").await.ok(200);
    }
}

#[tokio::test(start_paused = true)]
async fn health_does_not_wait_for_a_database_that_hangs() {
    let service = Service::new();
    service.metadata.script.set("probe", Trouble::Hangs, usize::MAX);
    let began = tokio::time::Instant::now();
    assert_eq!(service.get("/health").await.ok(200)["databases"]["sqlServer"]["connected"], false);
    assert!(began.elapsed().as_secs() < 3);
}

#[tokio::test]
async fn metrics_count_what_was_recorded_and_repeated() {
    let service = Service::new();
    for _ in 0..3 {
        service.post(body(7, "ann", 1)).await.ok(201);
    }
    let text = service.get("/metrics").await.text().to_owned();
    for line in
        ["highwater_eventlog_recorded_total 1", "highwater_eventlog_repeated_total 2", "highwater_ready 1"]
    {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(!text.contains("kafka"), "{text}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let service = Service::new();
    service.get("/").await.problem(404);
    service.get("/events/a/b/c").await.problem(404);
    let answer = service.get("/events").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    let delete = service.send(warp::test::request().method("DELETE").path("/events/ann")).await;
    delete.problem(405);
    assert_eq!(delete.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn the_routes_are_described_where_they_are() {
    let service = Service::new();
    let document = service.get("/openapi.json").await.ok(200);
    assert_eq!(document["info"]["title"], "Highwater: event log");
    assert!(service.get("/swagger").await.text().contains("swagger-ui"));
    assert_eq!(service.get("/swagger/swagger-ui.css").await.status(), 200);
}
