//! `GET /rejections`: what was refused of late, and by whom it is seen.

use std::sync::Arc;

use highwater_web::http::{AdminAuth, BearerToken, Problem, RefusalListener as _, TurnedAway};
use serde_json::{Value, json};
use warp::http::Method;

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
    let batch = warp::test::request().method("POST").path("/events/batch").body("{}");
    service.send(batch.header("x-correlation-id", "my-batch")).await.problem(400);
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
    assert_eq!(rejections[2]["correlationId"], "my-batch");
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
async fn a_refused_event_is_there_with_the_id_that_its_client_gave() {
    let service = with_admin();
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let event = json!({"userId": "a", "eventType": "NO", "eventId": id});
    service.post("/events/batch", json!([event, 5]).to_string()).await.ok(207);
    let call = json!({"event": "x", "messageId": id});
    service.post("/v1/track", call.to_string()).await.problem(400);
    let listed = ask(&service, "/rejections", TOKEN).await.ok(200);
    let ids: Vec<_> = listed["rejections"].as_array().unwrap().iter().map(|it| &it["eventId"]).collect();
    assert_eq!(ids, [&json!(id), &Value::Null, &json!(id)]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_ends_a_stream_is_there_with_its_correlation() {
    let service = with_admin();
    let good = r#"{"userId":"a","eventType":"LOGIN"}"#;
    let packed = zstd::encode_all(format!("{good}\n").as_bytes(), 3).unwrap();
    let lines = warp::test::request().method("POST").path("/events/batch");
    let lines = lines.header("content-type", "application/x-ndjson").header("content-encoding", "zstd");
    let request = lines.header("x-correlation-id", "my-stream").body(&packed[..packed.len() - 4]);
    let answer = service.send(request).await;
    assert_eq!(answer.status(), 207);
    let last: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], last.get("line")), (&json!(400), None));
    let listed = ask(&service, "/rejections", TOKEN).await.ok(200);
    let [rejection] = listed["rejections"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&rejection["status"], &rejection["correlationId"]), (&json!(400), &json!("my-stream")));
    assert!(rejection["detail"].as_str().unwrap().starts_with("the body is not zstd: "), "{rejection}");
}

#[tokio::test]
async fn requests_that_no_route_saw_are_there_and_push_no_event_out() {
    let service = with_admin();
    service.post("/events/generate", "5").await.problem(400);
    let client: Arc<str> = "shop".into();
    let problem = Problem::unavailable("not now", 1);
    let turned_away = |path: &str, client: Option<&Arc<str>>| {
        service.rejections.turned_away(&TurnedAway {
            method: &Method::POST,
            path,
            correlation_id: Some("mine"),
            client,
            problem: &problem,
        });
    };
    turned_away("/dead-letters/redrive", None);
    for path in ["/events/generate", "/events/batch", "/v1/track", "/api/events"] {
        turned_away(path, Some(&client));
    }
    let listed = ask(&service, "/rejections?limit=4", TOKEN).await.ok(200);
    assert_eq!(listed["count"], 5);
    for rejection in listed["rejections"].as_array().unwrap() {
        let [client, status, correlation] =
            ["client", "status", "correlationId"].map(|name| &rejection[name]);
        assert_eq!([client, status, correlation], [&json!("shop"), &json!(503), &json!("mine")]);
    }
    (0..5_000).for_each(|_| turned_away("/events/generate", None));
    service.post("/events/generate", "7").await.problem(400);
    let recent = ask(&service, "/rejections", TOKEN).await.ok(200);
    let statuses: Vec<_> =
        recent["rejections"].as_array().unwrap().iter().map(|it| it["status"].as_u64().unwrap()).collect();
    assert_eq!((&recent["count"], statuses.len()), (&json!(5_006), 252));
    assert_eq!((statuses[0], statuses[250], statuses[251]), (400, 503, 400), "the newest is first");
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
