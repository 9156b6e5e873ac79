//! The erasure of a user's events: who may, what is written, and what the receipt says.

use std::sync::Arc;

use highwater_kafka::{PartitionStatus, PublishError};
use highwater_web::http::{AdminAuth, BearerToken};
use serde_json::json;

use super::service::{Answer, Service, changed};
use crate::journal;

const TOKEN: &str = "a-token-of-24-characters";

async fn ask(service: &Service, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut request = warp::test::request().method(method).path(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    service.send(request).await
}

fn with_admin(mut service: Service) -> Service {
    service.admin_auth = Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN))));
    service
}

#[tokio::test]
async fn without_an_admin_nothing_can_be_erased() {
    let service = Service::new();
    let answer = ask(&service, "DELETE", "/api/events/user/ada", Some(TOKEN)).await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    ask(&service, "GET", "/api/events/erasures/2-29", Some(TOKEN)).await.problem(404);
    assert_eq!(service.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn an_erasure_needs_the_admin_token_and_listings_do_not() {
    journal::listen();
    let service = with_admin(Service::new());
    for (token, outcome) in [(None, "missing"), (Some("another"), "refused")] {
        ask(&service, "DELETE", "/api/events/user/ada", token).await.problem(401);
        ask(&service, "GET", "/api/events/erasures/2-29", token).await.problem(401);
        let told = |action: &str| ["unknown", "unknown", action, outcome].map(str::to_owned);
        assert_eq!(journal::take_audit(), [told("erasing a user's events"), told("asking for an erasure")]);
    }
    assert_eq!(service.sent(), []);
    ask(&service, "GET", "/api/events/user/ada", None).await.ok(200);
    let options = ask(&service, "OPTIONS", "/api/events/user/ada", None).await;
    assert_eq!(options.header("allow"), Some("GET, HEAD, DELETE, OPTIONS"));
}

#[tokio::test]
async fn a_marker_has_the_user_as_its_key_and_no_value() {
    journal::listen();
    let service = with_admin(Service::new());
    let answer = ask(&service, "DELETE", "/api/events/user/a%22d%20%C3%A4", Some(TOKEN)).await;
    let told = ["admin token", "unknown", "erasing a user's events", "admitted"].map(str::to_owned);
    assert_eq!(journal::take_audit(), [told]);
    let receipt = json!({
        "erasureId": "2-29",
        "state": "pending",
        "partitions": [{ "partition": 2, "offset": 41, "state": "written" }],
    });
    assert_eq!(answer.ok(202), receipt);
    assert_eq!(answer.header("location"), Some("/api/events/erasures/2-29"));
    let sent = service.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].key.as_deref(), &sent[0].value), (Some("a\"d ä".as_bytes()), &None));
    assert_eq!(sent[0].headers[0].0, "highwater-erasure");
    ask(&service, "DELETE", "/api/events/user/%ff", Some(TOKEN)).await.problem(400);
}

#[tokio::test]
async fn a_receipt_says_of_each_marker_whether_it_is_applied() {
    let service = with_admin(Service::new());
    let states = async |position, restored| {
        service.status.send_modify(|status| {
            status.group.topic_partitions = 3;
            status.group.partitions = vec![changed(|partition: &mut PartitionStatus| {
                (partition.partition, partition.position, partition.restored) = (2, position, restored);
            })];
        });
        let answer = ask(&service, "GET", "/api/events/erasures/2-29", Some(TOKEN)).await;
        assert!(answer.header("highwater-partitions").unwrap().starts_with("held=\"2\""));
        let receipt = answer.ok(200);
        (receipt["partitions"][0]["state"].clone(), receipt["state"].clone())
    };
    assert_eq!(states(41, true).await, (json!("written"), json!("pending")));
    assert_eq!(states(42, true).await, (json!("applied"), json!("done")));
    assert_eq!(states(42, false).await, (json!("elsewhere"), json!("pending")));
    let others = ask(&service, "GET", "/api/events/erasures/0-0-2-29", Some(TOKEN)).await.ok(200);
    assert_eq!(
        (&others["partitions"][0]["state"], &others["state"]),
        (&json!("elsewhere"), &json!("pending"))
    );
    for id in ["x", "2", "2-", "2-+9", "2-29-2-30"] {
        ask(&service, "GET", &format!("/api/events/erasures/{id}"), Some(TOKEN)).await.problem(404);
    }
}

#[tokio::test]
async fn without_kafkas_acknowledgement_it_is_503_and_says_whether_it_may_be_written() {
    for possibly_written in [true, false] {
        let error = PublishError::Unavailable { reason: "no answer".to_owned(), possibly_written };
        let service = with_admin(Service::that_answers(Err(error)));
        let answer = ask(&service, "DELETE", "/api/events/user/ada", Some(TOKEN)).await;
        let problem = answer.problem(503);
        assert_eq!(problem["possiblyWritten"], possibly_written);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}
