//! `POST /events/batch`: which events of a batch become records, and the receipts of all of them.

use highwater_kafka::{PublishError, Receipt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::service::{Answer, Service};

const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

async fn post_lines(service: &Service, path: &str, lines: impl AsRef<[u8]>) -> Answer {
    let request = warp::test::request().method("POST").path(path).body(lines);
    service.send(request.header("content-type", "application/x-ndjson")).await
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status(), 207, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert!(answer.text().is_empty() || answer.text().ends_with('\n'), "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_receipt_without_a_known_offset_has_none() {
    let service = Service::that_answers(Ok(Receipt { partition: 7, offset: None }));
    let event = json!({"userId": "a", "eventType": "LOGIN", "eventId": ID});
    let answer = service.post("/events/batch", json!([event]).to_string()).await.ok(207);
    assert_eq!(answer["receipts"][0], json!({"index": 0, "status": 201, "eventId": ID, "partition": 7}));
}

#[tokio::test]
async fn each_event_of_an_array_gets_a_receipt_in_its_place_and_a_bad_one_spoils_no_other() {
    let service = Service::that_answers(Ok(Receipt { partition: 7, offset: Some(1 << 40) }));
    let deep = format!(
        "{{\"userId\":\"u\",\"eventType\":\"LOGIN\",\"payload\":{}1{}}}",
        "[".repeat(90),
        "]".repeat(90)
    );
    let body = format!(
        r#"[{{"userId":"a","eventType":"LOGIN"}}, {{"userId":"","eventType":"NO"}}, 7, null, {deep},
           {{"userId":"b","eventType":"LOGOUT","eventId":"{ID}"}}]"#
    );
    let answer = service.post("/events/batch", body).await.ok(207);
    let receipts = answer["receipts"].as_array().unwrap();
    let statuses: Vec<_> = receipts.iter().map(|receipt| receipt["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 400, 400, 400, 400, 201]);
    for (index, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt["index"], index);
    }
    assert_eq!(
        receipts[5],
        json!({"index": 5, "status": 201, "eventId": ID, "partition": 7, "offset": 1_u64 << 40})
    );
    let fields: Vec<_> =
        receipts[1]["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["userId", "eventType"]);
    assert_eq!(receipts[2]["detail"], "the event must be a JSON object");
    assert_eq!(receipts[4]["detail"], "the event nests deeper than 32 levels");
    for (sum, count) in
        [("events", 6), ("stored", 2), ("refused", 4), ("notWritten", 0), ("possiblyWritten", 0)]
    {
        assert_eq!(answer[sum], count, "{sum}");
    }
    let sent = service.sent();
    assert_eq!(sent.iter().map(|message| message.key.as_deref().unwrap()).collect::<Vec<_>>(), [b"a", b"b"]);
    let value: Value = serde_json::from_slice(sent[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(value["eventId"], receipts[0]["eventId"]);
}

#[tokio::test]
async fn a_broken_line_is_one_refused_receipt_and_blank_lines_are_none() {
    let service = Service::new();
    let long = format!(r#"{{"userId":"{}","eventType":"LOGIN"}}"#, "x".repeat(70_000));
    let body = format!(
        "{{\"userId\":\"a\",\"eventType\":\"LOGIN\"}}\n\n{{\"userId\":\r\n \t\n{long}\n\"no\"\n{{\"userId\":\"b\",\"eventType\":\"LOGOUT\"}}"
    );
    let mut body = body.into_bytes();
    body.extend_from_slice(b"\n\xff\xfe\n");
    let receipts = lines(&post_lines(&service, "/events/batch", body).await);
    let told: Vec<_> = receipts
        .iter()
        .map(|receipt| (receipt["line"].as_u64().unwrap(), receipt["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [(1, 201), (3, 400), (5, 413), (6, 400), (7, 201), (8, 400)]);
    assert_eq!(service.sent().len(), 2);
}

#[tokio::test]
async fn a_line_of_any_length_and_an_item_beyond_that_of_an_event_refuse_themselves_alone() {
    let service = Service::new();
    let good = r#"{"userId":"a","eventType":"LOGIN"}"#;
    let event =
        |bytes: usize| format!(r#"{{"userId":"a","eventType":"LOGIN","payload":"{}"}}"#, "x".repeat(bytes));
    let body = format!("{good}\n{}\n{good}\n", event(3 << 20));
    let receipts = lines(&post_lines(&service, "/events/batch", body).await);
    let told: Vec<_> = receipts.iter().map(|receipt| receipt["status"].as_u64().unwrap()).collect();
    assert_eq!(told, [201, 413, 201]);
    let answer = service.post("/events/batch", format!("[{good},{},{good}]", event(70_000))).await.ok(207);
    let told = answer["receipts"].as_array().unwrap().iter().map(|receipt| &receipt["status"]);
    assert_eq!(told.collect::<Vec<_>>(), [201, 413, 201]);
    assert_eq!(service.sent().len(), 4);
    // More of them than there is room for at a time.
    let service = Service { max_batch_bytes: 4 << 20, ..service };
    let items = vec![event(70_000); 20].join(",");
    let answer = service.post("/events/batch", format!("[{items},{good}]")).await.ok(207);
    assert_eq!((&answer["stored"], &answer["refused"]), (&json!(1), &json!(20)));
}

#[tokio::test]
async fn a_refused_receipt_has_the_id_that_its_client_gave_where_that_is_one() {
    let service = Service::new();
    let bare = Uuid::parse_str(ID).unwrap().simple();
    for (event, id) in [
        (format!(r#"{{"eventId":"{ID}","userId":"","eventType":"LOGIN"}}"#), json!(ID)),
        (format!(r#"{{"eventId":"{bare}","eventType":"NO","metadata":1}}"#), json!(ID)),
        (r#"{"eventId":"no","eventType":"LOGIN"}"#.to_owned(), Value::Null),
        (format!(r#"{{"eventId":"{ID}","eventId":"{ID}","userId":"a","eventType":"LOGIN"}}"#), Value::Null),
        (r#"{"eventType":"LOGIN"}"#.to_owned(), Value::Null),
        (format!(r#"{{"eventId":"{ID}","userId":"#), Value::Null),
    ] {
        let [receipt] =
            <[_; 1]>::try_from(lines(&post_lines(&service, "/events/batch", &event).await)).unwrap();
        assert_eq!((&receipt["status"], &receipt["eventId"]), (&json!(400), &id), "{event}");
        assert_eq!(service.post("/events/generate", &event).await.problem(400)["eventId"], id, "{event}");
    }
    assert_eq!(service.sent().len(), 0);
}

#[tokio::test]
async fn with_receipts_of_errors_alone_the_last_line_has_the_sums() {
    let service = Service::new();
    let good = "{\"userId\":\"a\",\"eventType\":\"LOGIN\"}\n".repeat(300);
    let told =
        lines(&post_lines(&service, "/events/batch?receipts=errors", format!("{good}x\n{good}")).await);
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["line"], &told[0]["status"]), (&json!(301), &json!(400)));
    assert_eq!(
        told[1],
        json!({"events": 601, "stored": 600, "refused": 1, "notWritten": 0, "possiblyWritten": 0})
    );
    let body = format!("[{}5]", r#"{"userId":"a","eventType":"LOGIN"},"#.repeat(2));
    let answer = service.post("/events/batch?receipts=errors", body).await.ok(207);
    assert_eq!(answer["receipts"].as_array().unwrap().len(), 1);
    assert_eq!((&answer["stored"], &answer["refused"]), (&json!(2), &json!(1)));
    assert_eq!(service.post("/events/batch?receipts=none", "[]").await.faults(), ["receipts"]);
    assert_eq!(service.post("/events/batch?receipt=errors", "[]").await.status(), 400);
}

#[tokio::test]
async fn an_event_that_kafka_did_not_acknowledge_is_told_with_the_id_to_send_again_with() {
    let reason = || "the broker said so".to_owned();
    let unavailable = |possibly_written| PublishError::Unavailable { reason: reason(), possibly_written };
    for (error, status, sum) in [
        (PublishError::QueueFull, 503, "notWritten"),
        (unavailable(false), 503, "notWritten"),
        (unavailable(true), 503, "possiblyWritten"),
        (PublishError::TooLarge(reason()), 413, "refused"),
    ] {
        let service = Service::that_answers(Err(error.clone()));
        let body = format!(
            r#"[{{"userId":"a","eventType":"LOGIN","eventId":"{ID}"}},{{"userId":"a","eventType":"LOGIN"}}]"#
        );
        let answer = service.post("/events/batch", body).await.ok(207);
        assert_eq!(answer[sum], 2, "{error:?}");
        for receipt in answer["receipts"].as_array().unwrap() {
            assert_eq!(receipt["status"], status, "{error:?}");
            let is_possible = (status == 503).then_some(sum == "possiblyWritten");
            assert_eq!(receipt["possiblyWritten"].as_bool(), is_possible, "{error:?}");
            assert_eq!(receipt["retryAfter"].is_number(), status == 503, "{error:?}");
        }
        assert_eq!(answer["receipts"][0]["eventId"], ID);
        Uuid::parse_str(answer["receipts"][1]["eventId"].as_str().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_or_is_too_large_is_refused_as_a_whole() {
    let service = Service::new();
    let event = r#"{"userId":"a","eventType":"LOGIN"}"#;
    for body in ["", "{}", event, "[", "[1,]", "[{]", "nonsense", "\u{feff}[]"] {
        service.post("/events/batch", body).await.problem(400);
    }
    let many = |count: usize| format!("[{}]", vec![event; count].join(","));
    assert_eq!(service.post("/events/batch", many(100)).await.ok(207)["stored"], 100);
    assert_eq!(service.sent().len(), 100);
    service.post("/events/batch", many(101)).await.problem(413);
    service.post("/events/batch", format!("[{}]", " ".repeat(128 * 1024))).await.problem(413);
    let other = warp::test::request().method("POST").path("/events/batch").body("[]");
    let answer = service.send(other.header("content-type", "text/plain")).await;
    answer.problem(415);
    assert_eq!(answer.header("accept"), Some("application/json, application/x-ndjson"));
    assert_eq!(service.sent().len(), 0);
    assert_eq!(service.post("/events/batch", "[]").await.ok(207)["events"], 0);
    assert!(lines(&post_lines(&service, "/events/batch", "").await).is_empty());
}
