//! The record of a valid request, and the answer for each outcome of the producer.

use chrono::{TimeDelta, Utc};
use highwater_kafka::{PublishError, Receipt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::service::Service;

const LOGIN: &str = r#"{"userId":"u-1","eventType":"LOGIN","payload":{"ip":"::1"}}"#;

#[tokio::test]
async fn a_generated_event_goes_to_kafka_under_its_user_and_is_acknowledged_with_201() {
    let service = Service::that_answers(Ok(Receipt { partition: 7, offset: Some(1 << 40) }));
    let answer = service.post("/events/generate", LOGIN).await;
    let id = answer.ok(201)["eventId"].as_str().unwrap().to_owned();
    assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    assert_eq!(answer.header("location"), Some(format!("/events/processed/{id}").as_str()));
    assert_eq!(answer.header("kafka-partition"), Some("7"));
    assert_eq!(answer.header("kafka-offset"), Some("1099511627776"));

    let sent = service.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].key.as_deref(), Some(&b"u-1"[..]));
    assert!((Utc::now() - sent[0].timestamp).abs() < TimeDelta::seconds(5));
    let value: Value = serde_json::from_slice(sent[0].value.as_deref().unwrap()).unwrap();
    let happened = value["timestamp"].as_str().unwrap().to_owned();
    assert_eq!(
        value,
        json!({"eventId": id, "userId": "u-1", "eventType": "LOGIN", "timestamp": happened, "payload": {"ip": "::1"}})
    );
    assert!(happened.ends_with('Z') && happened.len() == 24, "{happened}");
}

#[tokio::test]
async fn an_api_event_of_any_type_is_accepted_with_202() {
    let service = Service::new();
    let body = r#"{"userId":"u-1","eventType":"cart emptied","metadata":{"items":3}}"#;
    let answer = service.post("/api/events", body).await;
    let told = answer.ok(202);
    assert_eq!(told["message"], "Event published successfully");
    assert_eq!(
        answer.header("location"),
        Some(format!("/events/processed/{}", told["eventId"].as_str().unwrap()).as_str())
    );
    let value: Value = serde_json::from_slice(service.sent()[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(value["eventId"], told["eventId"]);
    assert_eq!(value["eventType"], "cart emptied");
    assert_eq!(value["payload"], json!({"items": 3}));
}

#[tokio::test]
async fn each_event_gets_an_id_of_its_own() {
    let service = Service::new();
    let first = service.post("/events/generate", LOGIN).await.ok(201);
    let second = service.post("/events/generate", LOGIN).await.ok(201);
    assert_ne!(first["eventId"], second["eventId"]);
}

#[tokio::test]
async fn a_client_can_give_the_id_and_the_timestamp() {
    let service = Service::new();
    let id = "0190163D-8694-739B-AEA5-966C26F8AD91";
    for (path, status) in [("/events/generate", 201), ("/api/events", 202)] {
        let body = format!(
            r#"{{"userId":"u","eventType":"LOGIN","eventId":"{id}","timestamp":"2026-05-01T12:00:00.5+02:00"}}"#
        );
        let told = service.post(path, &body).await.ok(status);
        assert_eq!(told["eventId"], id.to_lowercase());
        let sent = service.sent();
        let value: Value = serde_json::from_slice(sent[0].value.as_deref().unwrap()).unwrap();
        assert_eq!(value["eventId"], id.to_lowercase());
        assert_eq!(value["timestamp"], "2026-05-01T10:00:00.500Z");
        assert!(
            (Utc::now() - sent[0].timestamp).abs() < TimeDelta::seconds(5),
            "the record has the producer's clock"
        );
    }
}

#[tokio::test]
async fn a_payload_is_kept_to_the_digit_and_in_its_order() {
    let service = Service::new();
    let payload = r#"{"z":1.0,"a":123456789012345678901234567890,"e":1E-7,"s":"\u00fc\/ü","n":[null,{}]}"#;
    let body = format!(r#"{{"payload":{payload},"eventType":"LOGIN","userId":"u"}}"#);
    service.post("/events/generate", &body).await.ok(201);
    let value = String::from_utf8(service.sent()[0].value.clone().unwrap()).unwrap();
    assert!(value.ends_with(&format!("\"payload\":{payload}}}")), "{value}");
}

#[tokio::test]
async fn a_payload_over_several_lines_becomes_one_line() {
    let service = Service::new();
    let body = "{\"userId\":\"u\",\"eventType\":\"LOGIN\",\"payload\":{\n  \"a\" : \"b c\"\n}}";
    service.post("/events/generate", body).await.ok(201);
    let value = String::from_utf8(service.sent()[0].value.clone().unwrap()).unwrap();
    assert!(value.ends_with("\"payload\":{\"a\":\"b c\"}}"), "{value}");
}

#[tokio::test]
async fn an_absent_payload_and_a_null_one_are_empty_objects() {
    let service = Service::new();
    for payload in ["", ",\"payload\":null", ",\"payload\":{}"] {
        let body = format!(r#"{{"userId":"u","eventType":"LOGIN"{payload}}}"#);
        service.post("/events/generate", &body).await.ok(201);
        let value: Value = serde_json::from_slice(service.sent()[0].value.as_deref().unwrap()).unwrap();
        assert_eq!(value["payload"], json!({}));
    }
}

#[tokio::test]
async fn each_failure_of_the_producer_has_its_status_and_tells_the_id_to_repeat_with() {
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let body = format!(r#"{{"userId":"u","eventType":"LOGIN","eventId":"{id}"}}"#);
    let reason = || "the broker said so".to_owned();
    let unavailable = |possibly_written| PublishError::Unavailable { reason: reason(), possibly_written };
    for (error, status, retry_after) in [
        (PublishError::QueueFull, 503, Some("1")),
        (PublishError::CircuitOpen("b1:9092".to_owned()), 503, Some("2")),
        (PublishError::TooLarge(reason()), 413, None),
        (PublishError::Refused(reason()), 503, Some("30")),
        (unavailable(false), 503, Some("1")),
        (unavailable(true), 503, Some("1")),
        (PublishError::Stopping, 503, Some("1")),
    ] {
        let service = Service::that_answers(Err(error.clone()));
        for path in ["/events/generate", "/api/events"] {
            let answer = service.post(path, &body).await;
            let problem = answer.problem(status);
            assert_eq!(problem["eventId"], id, "{error:?}");
            assert_eq!(answer.header("x-correlation-id"), Some(id), "{error:?}");
            if status == 503 {
                let written = matches!(&error, PublishError::Unavailable { possibly_written: true, .. });
                assert_eq!(problem["possiblyWritten"], written, "{error:?}");
                let detail = problem["detail"].as_str().unwrap();
                assert_eq!(detail.contains("may have been written"), written, "{detail}");
                assert_eq!(detail.contains("was not written"), !written, "{detail}");
                assert!(detail.contains("with this eventId is safe"), "{detail}");
            }
            assert_eq!(answer.header("retry-after"), retry_after, "{error:?}");
            assert_eq!(answer.header("location"), None);
        }
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_says_that_the_event_may_be_there_and_that_repeating_is_safe() {
    for possibly_written in [true, false] {
        let service = Service::that_answers(Err(PublishError::Unavailable {
            reason: "timed out".to_owned(),
            possibly_written,
        }));
        let problem = service.post("/events/generate", LOGIN).await.problem(503);
        assert_eq!(problem["possiblyWritten"], possibly_written);
        assert!(Uuid::parse_str(problem["eventId"].as_str().unwrap()).is_ok());
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("with this eventId is safe"), "{detail}");
        assert_eq!(detail.contains("may have been written"), possibly_written, "{detail}");
    }
}

#[tokio::test]
async fn a_stopping_instance_asks_its_clients_to_leave() {
    let service = Service::that_answers(Err(PublishError::Stopping));
    let answer = service.post("/events/generate", LOGIN).await;
    answer.problem(503);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_correlation_id_is_in_the_answer_and_in_the_records_headers_and_the_event_s_own_where_none_is_given()
 {
    let service = Service::new();
    let body = r#"{"userId":"u","eventType":"LOGIN"}"#;
    let given = |id: &'static str| {
        let request = warp::test::request().method("POST").path("/events/generate").body(body);
        service.send(request.header("x-correlation-id", id))
    };
    assert_eq!(given("request-1").await.header("x-correlation-id"), Some("request-1"));
    let sent = service.sent().remove(0);
    let header = |name: &str| {
        let found = sent.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    assert_eq!(header("ce_correlationid").as_deref(), Some("request-1"));
    assert_eq!(header("ce_type").as_deref(), Some("LOGIN"));
    let value: serde_json::Value = serde_json::from_slice(sent.value.as_ref().unwrap()).unwrap();
    assert_eq!(header("ce_id").as_deref(), value["eventId"].as_str());

    for none in ["", "two words", "é"] {
        let answer = given(none).await;
        let id = answer.ok(201)["eventId"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("x-correlation-id"), Some(id.as_str()), "{none:?}");
        assert_eq!(service.sent().remove(0).headers, [], "{none:?}");
    }
}
