//! `GET /rejections`: what was refused of late, and by whom it is seen.

use std::sync::Arc;

use highwater_web::http::{AdminAuth, BearerToken};
use serde_json::{Value, json};

use super::service::{Answer, Service};

const TOKEN: &str = "a-token-of-24-characters";

async fn ask(service: &Service, path: &str, token: &str) -> Answer {
    let request = warp::test::request().path(path);
    service.send(request.header("authorization", format!("Bearer {token}"))).await
}

fn with_admin() -> Service {
    let mut service = Service::new();
    service.admin_auth = Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN))));
    service
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_seen_by_admins_alone() {
    let service = with_admin();
    service.get("/rejections").await.problem(401);
    ask(&service, "/rejections", "another").await.problem(401);
    assert_eq!(ask(&service, "/rejections", TOKEN).await.ok(200), json!({"rejections": [], "count": 0}));
    assert_eq!(ask(&service, "/rejections?limit=0", TOKEN).await.faults(), ["limit"]);
    ask(&Service::new(), "/rejections", TOKEN).await.problem(404);
}

#[tokio::test]
async fn each_refused_event_is_there_with_the_reason_whatever_route_it_came_by() {
    let service = with_admin();
    let good = json!({"userId": "a", "eventType": "LOGIN"});
    let request =
        warp::test::request().method("POST").path("/events/generate").body("{\"eventType\":\"LOGIN\"}");
    service.send(request.header("x-correlation-id", "mine")).await.problem(400);
    service.post("/api/events", "nonsense").await.problem(400);
    service.post("/events/batch", json!([good, 5, {"userId": ""}]).to_string()).await.ok(207);
    service.post("/events/batch", "{}").await.problem(400);
    service.post("/v1/page", "{}").await.problem(400);
    service.post("/v1/batch", "{}").await.problem(400);
    service.post("/events/generate", good.to_string()).await.ok(201);

    let answer = ask(&service, "/rejections", TOKEN).await.ok(200);
    assert_eq!(answer["count"], 7);
    let rejections = answer["rejections"].as_array().unwrap();
    let details: Vec<&str> = rejections.iter().rev().map(|it| it["detail"].as_str().unwrap()).collect();
    assert_eq!(details[0], "userId is required");
    assert!(details[1].starts_with("the body is not JSON"), "{details:?}");
    assert_eq!(details[3], "2 fields are not valid");
    assert_eq!(details[4], "the body must be a JSON array of events");
    let first = rejections.last().unwrap();
    assert_eq!((&first["status"], &first["correlationId"]), (&json!(400), &json!("mine")));
    assert_eq!(first["errors"], json!([{"field": "userId", "message": "is required"}]));
    assert_eq!(first["client"], Value::Null);
    first["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let limited = ask(&service, "/rejections?limit=2", TOKEN).await.ok(200);
    assert_eq!(
        (limited["rejections"].as_array().unwrap(), &limited["count"]),
        (&rejections[..2].to_vec(), &json!(7))
    );
}

#[tokio::test]
async fn of_many_refusals_the_newest_are_kept_and_none_is_large() {
    let service = with_admin();
    let long = json!({"userId": "a", "eventType": "x".repeat(10_000)});
    for _ in 0..12 {
        service.post("/events/batch", json!(vec![json!(1); 100]).to_string()).await.ok(207);
    }
    service.post("/events/generate", long.to_string()).await.problem(400);
    let answer = ask(&service, "/rejections", TOKEN).await;
    let recent = answer.ok(200);
    assert_eq!((recent["rejections"].as_array().unwrap().len(), &recent["count"]), (1_000, &json!(1_201)));
    assert!(recent["rejections"][0]["detail"].as_str().unwrap().starts_with("eventType must be one of"));
    assert!(answer.text().len() < 300_000, "{}", answer.text().len());
}
