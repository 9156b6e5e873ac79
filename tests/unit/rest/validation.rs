//! Validation of posted events, field by field.

use serde_json::{Value, json};
use uuid::Uuid;

use super::service::Service;

async fn faults(path: &str, body: impl AsRef<[u8]>) -> Vec<String> {
    let service = Service::new();
    let faults = service.post(path, body).await.faults();
    assert!(service.sent().is_empty(), "nothing may reach Kafka");
    faults
}

#[tokio::test]
async fn a_user_id_is_a_string_that_is_not_blank() {
    for user_id in [
        json!(null),
        json!(7),
        json!(["u"]),
        json!(""),
        json!(" \t\u{2003}"),
        json!("\u{200b}"),
        json!("\u{feff}\u{3164}\n"),
        json!("ü".repeat(257)),
    ] {
        for (path, event_type) in [("/events/generate", "LOGIN"), ("/api/events", "anything")] {
            let body = json!({"userId": user_id, "eventType": event_type}).to_string();
            assert_eq!(faults(path, body).await, ["userId"], "{user_id}");
        }
    }
}

#[tokio::test]
async fn a_user_id_has_up_to_256_characters_however_many_bytes_they_take() {
    let service = Service::new();
    for user_id in ["ü".repeat(256), "\u{1F600}".repeat(256), "\"\\\n\u{0}".into(), " a ".into()] {
        let body = json!({"userId": user_id, "eventType": "LOGIN"}).to_string();
        service.post("/events/generate", body).await.ok(201);
        assert_eq!(service.sent()[0].key.as_deref(), Some(user_id.as_bytes()));
    }
}

#[tokio::test]
async fn an_event_type_is_one_of_the_configured_ones_compared_exactly() {
    for event_type in [json!(null), json!(1), json!(""), json!("login"), json!("LOGIN "), json!("DELETE")] {
        let body = json!({"userId": "u", "eventType": event_type}).to_string();
        assert_eq!(faults("/events/generate", body).await, ["eventType"], "{event_type}");
    }
    let answer = Service::new().post("/events/generate", r#"{"userId":"u","eventType":"login"}"#).await;
    let message = answer.json()["errors"][0]["message"].to_string();
    assert!(message.contains("LOGIN, LOGOUT, PRODUCT_VIEW"), "{message}");
}

#[tokio::test]
async fn an_api_event_type_is_anything_but_blank_or_too_long() {
    for event_type in [json!(null), json!({}), json!("  "), json!("\u{2060}"), json!("x".repeat(257))] {
        let body = json!({"userId": "u", "eventType": event_type}).to_string();
        assert_eq!(faults("/api/events", body).await, ["eventType"], "{event_type}");
    }
    let body = json!({"userId": "u", "eventType": "x".repeat(256)}).to_string();
    Service::new().post("/api/events", body).await.ok(202);
}

#[tokio::test]
async fn a_payload_is_an_object() {
    for payload in [json!([]), json!("{}"), json!(1), json!(false)] {
        for name in ["payload", "metadata"] {
            let body = json!({"userId": "u", "eventType": "LOGIN", name: payload}).to_string();
            assert_eq!(faults("/events/generate", &body).await, [name]);
            assert_eq!(faults("/api/events", &body).await, [name]);
        }
    }
}

#[tokio::test]
async fn a_payload_is_taken_by_either_name_on_both_routes() {
    for (path, status) in [("/events/generate", 201), ("/api/events", 202)] {
        for fields in [
            r#""payload":{"ip":"::1"}"#,
            r#""metadata":{"ip":"::1"}"#,
            r#""meta\u0064ata":{"ip":"::1"},"payload":null"#,
            r#""payload":{"ip":"::1"},"metadata":null"#,
        ] {
            let service = Service::new();
            let body = format!(r#"{{"userId":"u","eventType":"LOGIN",{fields}}}"#);
            service.post(path, body).await.ok(status);
            let value: Value = serde_json::from_slice(service.sent()[0].value.as_deref().unwrap()).unwrap();
            assert_eq!(value["payload"], json!({"ip": "::1"}), "{path} {fields}");
            assert_eq!(value.get("metadata"), None, "one name in the topic");
        }
    }
}

#[tokio::test]
async fn a_payload_by_both_names_is_a_fault_even_if_they_agree() {
    for path in ["/events/generate", "/api/events"] {
        let body = r#"{"userId":"u","eventType":"LOGIN","payload":{},"metadata":{}}"#;
        assert_eq!(faults(path, body).await, ["metadata"]);
    }
}

#[tokio::test]
async fn an_event_id_is_a_uuid_and_a_timestamp_is_a_date_and_time() {
    for (field, value) in [
        ("eventId", json!("42")),
        ("eventId", json!(42)),
        ("eventId", json!("")),
        ("eventId", json!(Uuid::nil())),
        ("eventId", json!(Uuid::max())),
        ("eventId", json!("{0f8fad5b-d9cb-469f-a165-70867728950e}")),
        ("eventId", json!("urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e")),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!(1_700_000_000)),
        ("timestamp", json!("2026-13-01T00:00:00Z")),
    ] {
        let mut body = json!({"userId": "u", "eventType": "LOGIN"});
        body[field] = value;
        assert_eq!(faults("/events/generate", body.to_string()).await, [field]);
        assert_eq!(faults("/api/events", body.to_string()).await, [field]);
    }
}

#[tokio::test]
async fn an_event_id_or_timestamp_of_null_counts_as_absent() {
    let body = r#"{"userId":"u","eventType":"LOGIN","eventId":null,"timestamp":null}"#;
    Service::new().post("/events/generate", body).await.ok(201);
}

#[tokio::test]
async fn all_faults_are_in_one_answer() {
    let body = r#"{"userId":" ","eventType":"X","payload":[],"eventId":"x","timestamp":"y"}"#;
    assert_eq!(
        faults("/events/generate", body).await,
        ["userId", "eventType", "payload", "eventId", "timestamp"]
    );
    assert_eq!(faults("/events/generate", "{}").await, ["userId", "eventType"]);
}

#[tokio::test]
async fn a_repeated_field_is_a_fault_even_with_equal_values() {
    let body = r#"{"userId":"u","eventType":"LOGIN","userId":"u"}"#;
    assert_eq!(faults("/events/generate", body).await, ["userId"]);
    let escaped = r#"{"userId":"u","eventType":"LOGIN","user\u0049d":"v"}"#;
    assert_eq!(faults("/events/generate", escaped).await, ["userId"]);
}

#[tokio::test]
async fn unknown_fields_of_a_body_are_ignored() {
    let body = r#"{"v":2,"userId":"u","more":{"userId":3},"eventType":"LOGIN","extra":"no object","v":3}"#;
    Service::new().post("/events/generate", body).await.ok(201);
}

#[tokio::test]
async fn half_a_surrogate_pair_is_no_text() {
    let body = r#"{"userId":"\ud800","eventType":"LOGIN"}"#;
    assert_eq!(faults("/events/generate", body).await, ["userId"]);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_a_bad_request() {
    for body in [
        "",
        " \n",
        "nonsense",
        "{",
        "[]",
        "[1,2]",
        "\"text\"",
        "null",
        "7",
        "{}{}",
        "{} x",
        r#"{"userId":"u","eventType":"LOGIN",}"#,
        r#"{'userId':'u'}"#,
        "{\"userId\":\"tab\there\"}",
    ] {
        let service = Service::new();
        let answer = service.post("/events/generate", body).await;
        let problem = answer.problem(400);
        assert!(problem.get("errors").is_none(), "{problem}");
        assert!(service.sent().is_empty());
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_a_bad_request_wherever_they_stand() {
    for body in [
        &b"{\"userId\":\"\xff\",\"eventType\":\"LOGIN\"}"[..],
        &b"{\"userId\":\"u\",\"eventType\":\"LOGIN\",\"payload\":{\"a\":\"\xc3\x28\"}}"[..],
        &b"{\"userId\":\"u\",\"eventType\":\"LOGIN\",\"ignored\":\"\xff\"}"[..],
    ] {
        let problem = Service::new().post("/events/generate", body).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains("UTF-8"), "{problem}");
    }
}

#[tokio::test]
async fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"userId":"u","eventType":"LOGIN","payload":{{"a":{open}{close}}}}}"#)
    };
    let service = Service::new();
    service.post("/events/generate", nested(30)).await.ok(201);
    let problem = service.post("/events/generate", nested(31)).await.problem(400);
    assert!(problem["detail"].as_str().unwrap().contains("32"), "{problem}");
    service.post("/events/generate", "[".repeat(60_000)).await.problem(400);

    let brackets = json!({"userId": "u", "eventType": "LOGIN", "payload": {"a": "\"[{".repeat(1000)}});
    service.post("/events/generate", brackets.to_string()).await.ok(201);
}

#[tokio::test]
async fn no_depth_is_deep_enough_to_overflow_the_stack() {
    let mut service = Service::new();
    service.limits.max_bytes = 1 << 20;
    service.limits.max_depth = 1 << 20;
    let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
    for body in [
        format!(r#"{{"userId":"u","eventType":"LOGIN","payload":{{"a":{open}{close}}}}}"#),
        format!(r#"{{"userId":"u","eventType":"LOGIN","ignored":{open}{close}}}"#),
    ] {
        service.post("/events/generate", body).await.ok(201);
    }
    for body in [open.clone(), format!("{open}{close}"), format!(r#"{{"userId":{open}{close}}}"#)] {
        service.post("/events/generate", body).await.problem(400);
    }
}

#[tokio::test]
async fn a_content_type_is_json_by_any_of_its_names_or_absent() {
    let service = Service::new();
    let body = r#"{"userId":"u","eventType":"LOGIN"}"#;
    let post = |content_type: &[u8]| {
        let value = warp::http::HeaderValue::from_bytes(content_type).unwrap();
        warp::test::request().method("POST").path("/events/generate").header("content-type", value).body(body)
    };
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.acme.event+json",
        "application/vnd.events+JSON;x=y",
        // An empty one names none.
        "",
    ] {
        service.send(post(content_type.as_bytes())).await.ok(201);
    }
    for content_type in [
        &b"text/plain"[..],
        b"application/x-www-form-urlencoded",
        b"application/jsonx",
        b"json",
        b"multipart/form-data; boundary=json",
        b"text/json+json",
        b"application/+json",
        b"\xff\xfe",
    ] {
        let answer = service.send(post(content_type)).await;
        let problem = answer.problem(415);
        assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{problem}");
        assert_eq!(answer.header("accept"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_body_beyond_its_limit_is_refused() {
    let service = Service::new();
    let body = |length: usize| {
        let rest = r#"{"userId":"u","eventType":"LOGIN","x":""}"#.len();
        format!(r#"{{"userId":"u","eventType":"LOGIN","x":"{}"}}"#, "x".repeat(length - rest))
    };
    service.post("/events/generate", body(64 * 1024)).await.ok(201);
    let problem = service.post("/events/generate", body(64 * 1024 + 1)).await.problem(413);
    assert!(problem["detail"].as_str().unwrap().contains("65536"), "{problem}");
}

#[tokio::test]
async fn a_byte_order_mark_before_the_body_is_named() {
    let body = "\u{feff}{\"userId\":\"u\",\"eventType\":\"LOGIN\"}";
    let answer = Service::new().post("/events/generate", body).await;
    assert!(answer.problem(400)["detail"].as_str().unwrap().contains("a byte order mark (U+FEFF)"));
}
