//! `/health` and `/ready`.

use std::{sync::Arc, time::Duration};

use highwater_kafka::{GroupPhase, KafkaStatus, PartitionStatus, Status, StatusRegistry};
use highwater_web::{
    http::{AdminAuth, BearerToken},
    shutdown::Stage,
};
use serde_json::json;

use super::service::{Service, changed, event};

const TOKEN: &str = "a-token-of-24-characters";

/// All that a service needs to be ready.
fn ready() -> Status {
    let mut status = restored();
    status.group.caught_up = true;
    status
}

fn restored() -> Status {
    changed(|status: &mut Status| {
        status.kafka.connected = true;
        (status.group.id, status.group.phase) = ("group".to_owned(), GroupPhase::Assigned);
        status.group.partitions = vec![changed(|partition: &mut PartitionStatus| {
            (partition.partition, partition.restored) = (1, true);
        })];
    })
}

#[tokio::test]
async fn a_service_that_drains_is_not_ready_and_answers_everything_else() {
    let service = Service::new();
    service.status.send_replace(ready());
    service.get("/ready").await.ok(200);
    service.shutdown.advance(Stage::Draining);
    let problem = service.get("/ready").await.problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("stopping"), "{problem}");
    service.get("/health").await.ok(200);
    service.get("/events/processed").await.ok(200);
}

#[tokio::test]
async fn health_is_200_whatever_became_of_kafka_and_says_what() {
    let service = Service::new();
    let mut status = Status::default();
    status.kafka.error = Some("no broker answers".to_owned());
    service.status.send_replace(status);
    let body = service.get("/health").await.ok(200);
    assert_eq!(body["status"], "up");
    assert_eq!(body["service"], "highwater");
    assert_eq!(body["kafka"], json!({"connected": false, "error": "no broker answers"}));
    assert_eq!(body["group"]["phase"], "finding");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));

    service.status.send_replace(ready());
    let body = service.get("/health").await.ok(200);
    assert_eq!(body["kafka"]["connected"], true);
    assert_eq!(body["group"]["partitions"][0]["partition"], 1);
}

#[tokio::test]
async fn health_tells_of_the_embedded_broker_and_only_then() {
    let mut service = Service::new();
    assert_eq!(service.get("/health").await.ok(200).get("embedded"), None);
    service.embedded = true;
    assert_eq!(service.get("/health").await.ok(200)["embedded"], true);
}

#[tokio::test]
async fn health_has_the_stores_counters() {
    let service = Service::new();
    service.processed(event(1, "u", "LOGIN")).await;
    service.processed(event(1, "u", "LOGIN")).await;
    assert_eq!(
        service.get("/health").await.ok(200)["store"],
        json!({"events": 1, "duplicates": 1, "evicted": 0, "conflicts": 0})
    );
}

#[tokio::test]
async fn ready_is_200_once_kafka_answers_and_the_first_assignment_is_restored() {
    let service = Service::new();
    service.status.send_replace(ready());
    assert_eq!(service.get("/ready").await.ok(200)["status"], "ready");
}

#[tokio::test]
async fn ready_stays_200_through_later_rebalances_but_not_without_kafka() {
    let service = Service::new();
    let mut status = ready();
    for phase in [GroupPhase::Revoking, GroupPhase::Joining, GroupPhase::Syncing] {
        status.group.phase = phase;
        service.status.send_replace(status.clone());
        service.get("/ready").await.ok(200);
    }
    status.kafka.connected = false;
    service.status.send_replace(status);
    service.get("/ready").await.problem(503);
}

#[tokio::test]
async fn reads_are_served_without_kafka_once_all_is_restored() {
    let service = Service::new();
    let mut status = ready();
    status.kafka.connected = false;
    service.status.send_replace(status.clone());
    assert_eq!(service.get("/ready/read").await.ok(200)["status"], "ready");
    service.get("/ready").await.problem(503);
    for (caught_up, phase) in [(false, GroupPhase::Assigned), (true, GroupPhase::Left)] {
        (status.group.caught_up, status.group.phase) = (caught_up, phase);
        service.status.send_replace(status.clone());
        service.get("/ready/read").await.problem(503);
    }
}

#[tokio::test]
async fn health_tells_errors_to_all_but_addresses_and_users_to_admins() {
    let mut service = Service::new();
    service.admin_auth = Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN))));
    let mut status = ready();
    let error = "writing to events/0: 127.0.0.1:22720 refuses user highwater: bad credentials";
    status.kafka = changed(|kafka: &mut KafkaStatus| kafka.error = Some(error.to_owned()));
    service.status.send_replace(status);
    for path in ["/ready", "/health"] {
        let public = service.get(path).await;
        assert!(
            !public.text().contains("22720") && !public.text().contains("user highwater"),
            "{}",
            public.text()
        );
        assert!(public.text().contains("refuses this service's user: bad credentials"), "{}", public.text());
        let request = warp::test::request().path(path).header("authorization", format!("Bearer {TOKEN}"));
        let whole = service.send(request).await;
        assert!(whole.text().contains(error), "{}", whole.text());
        let request = warp::test::request().path(path).header("authorization", "Bearer another");
        service.send(request).await.problem(401);
    }
}

#[tokio::test]
async fn health_tells_to_all_but_admins_the_code_of_the_databases_failure_and_not_its_words() {
    let mut service = Service::new();
    service.admin_auth = Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN))));
    for (error, public) in [
        (
            "the store is unavailable: PostgreSQL: password authentication failed for user \"ada\" [28P01]",
            "the store is unavailable: PostgreSQL answers [28P01]",
        ),
        (
            "PostgreSQL cannot be reached: certificate not valid for name \"ada.example\"",
            "PostgreSQL cannot be reached",
        ),
    ] {
        let mut status = ready();
        status.group.partitions[0].error = Some(error.to_owned());
        service.status.send_replace(status);
        let body = service.get("/health").await.ok(200);
        assert_eq!(body["group"]["partitions"][0]["error"], public);
        let request =
            warp::test::request().path("/health").header("authorization", format!("Bearer {TOKEN}"));
        assert_eq!(service.send(request).await.ok(200)["group"]["partitions"][0]["error"], error);
    }
}

#[tokio::test]
async fn ready_is_503_with_the_obstacle_before_that() {
    let service = Service::new();
    let mut away = restored();
    away.kafka = changed(|kafka: &mut KafkaStatus| kafka.error = Some("connection refused".to_owned()));
    let mut restoring = restored();
    restoring.group.partitions.push(PartitionStatus::default());
    let mut behind = restored();
    (behind.group.partitions[0].position, behind.group.partitions[0].goal) = (10, Some(20));
    let phase = |phase| {
        let mut status = restored();
        status.group.phase = phase;
        status
    };
    for (status, obstacle) in [
        (away, "connection refused"),
        (restoring, "1 of 2 partitions are restored"),
        (behind, "0 of 1 partitions are read to the end they had"),
        (phase(GroupPhase::Finding), "coordinator"),
        (phase(GroupPhase::Joining), "gathering"),
        (phase(GroupPhase::Syncing), "assigned"),
        (phase(GroupPhase::Revoking), "given up"),
        (phase(GroupPhase::Left), "left"),
    ] {
        service.status.send_replace(status);
        let answer = service.get("/ready").await;
        let problem = answer.problem(503);
        assert!(problem["detail"].as_str().unwrap().contains(obstacle), "{problem}");
        assert!(answer.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn ready_tells_the_progress_of_each_partition() {
    let service = Service::new();
    let mut status = restored();
    status.group.partitions[0].position = 10;
    status.group.partitions[0].goal = Some(20);
    service.status.send_replace(status);
    assert_eq!(
        service.get("/ready").await.problem(503)["partitions"],
        json!([{"partition": 1, "restored": true, "position": 10, "goal": 20}])
    );
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_among_the_warnings_for_an_hour() {
    let (registry, service) = (StatusRegistry::new(), Service::new());
    let lost = "topic events: up to 5 records of partition 0 were not processed";
    assert!(registry.notice(lost.to_owned()));
    service.status.send_replace(registry.watch().borrow().clone());
    let warnings = async || service.get("/health").await.ok(200)["kafka"]["warnings"].clone();
    assert_eq!(warnings().await, json!([lost]));
    tokio::time::advance(Duration::from_secs(59 * 60)).await;
    assert_eq!(warnings().await, json!([lost]));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(warnings().await, json!(null));
}
