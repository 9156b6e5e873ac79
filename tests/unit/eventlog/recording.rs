//! `POST /events`.

use highwater_eventlog::{DatabaseError, MOST_ITEM_BYTES};
use uuid::Uuid;

use super::fakes::{Service, Trouble, body, ids};

#[tokio::test]
async fn an_event_is_in_both_databases_and_is_found_where_its_answer_says() {
    let service = Service::new();
    let answer = service.post(r#"{"userId":" ann ä#b%2F ","eventType":"LOGIN","details":{"a":1}}"#).await;
    let id = answer.ok(201)["eventId"].as_str().unwrap().to_owned();
    assert_eq!((service.rows(), service.items()), (1, 1));
    let location = answer.header("location").unwrap();
    assert_eq!(location, format!("/events/ann%20%C3%A4%23b%252F/{id}"));
    let found = service.get(location).await.ok(200);
    assert_eq!((&found["eventId"], &found["userId"]), (&id.as_str().into(), &"ann ä#b%2F".into()));
    assert_eq!(service.listed("/events/ann%20%C3%A4%23b%252F").await, [id]);
}

#[tokio::test]
async fn details_are_any_json_and_come_back_as_they_were_posted() {
    let service = Service::new();
    let values = [
        "null",
        "true",
        "\"\"",
        "0",
        "-0",
        "1.10",
        "1E400",
        "123456789012345678901234567890.5",
        "[]",
        "{}",
        r#"{"z":1,"a":{"b":[1,2.0,{"c":null}]},"a":2}"#,
        r#""\u00e4 \ud83d\ude00 \" \\ \/""#,
        r#"{"details":{"eventId":"x"}}"#,
    ];
    for (at, value) in values.iter().enumerate() {
        let user = format!("user-{at}");
        let body = format!(r#"{{"userId":"{user}","eventType":"T","details":{value}}}"#);
        service.post(&body).await.ok(201);
        let listed = service.get(&format!("/events/{user}")).await;
        let text = listed.text();
        assert!(text.ends_with(&format!(r#""details":{value}}}]"#)), "{value}: {text}");
    }
}

#[tokio::test]
async fn details_by_the_name_that_another_service_gives_them_are_not_lost_but_refused() {
    let service = Service::new();
    let body = r#"{"userId":"ann","eventType":"T","payload":{"a":1},"metadata":{}}"#;
    assert_eq!(service.post(body).await.faults(), ["payload", "metadata"]);
    assert_eq!(service.items(), 0);
}

#[tokio::test]
async fn an_event_without_details_has_none_and_asks_dynamodb_for_none() {
    let service = Service::new();
    service.post(r#"{"userId":"ann","eventType":"T"}"#).await.ok(201);
    let listed = service.get("/events/ann").await.ok(200);
    assert_eq!(listed[0].get("details"), None);
    assert_eq!(listed[0].get("detailsMissing"), None);
    assert!(service.details.batches.lock().unwrap().is_empty());
    assert_eq!(service.items(), 1);
}

#[tokio::test]
async fn a_timestamp_is_kept_to_the_millisecond_or_made() {
    let service = Service::new();
    let body = r#"{"userId":"ann","eventType":"T","timestamp":"2026-05-01T12:00:00.1239+02:00"}"#;
    service.post(body).await.ok(201);
    let listed = service.get("/events/ann").await.ok(200);
    assert_eq!(listed[0]["timestamp"], "2026-05-01T10:00:00.123Z");
    service.post(r#"{"userId":"bob","eventType":"T"}"#).await.ok(201);
    let made = service.get("/events/bob").await.ok(200)[0]["timestamp"].as_str().unwrap().to_owned();
    let age = chrono::Utc::now() - chrono::DateTime::parse_from_rfc3339(&made).unwrap().to_utc();
    assert!(age.num_seconds().abs() < 60, "{made}");
}

#[tokio::test]
async fn an_event_id_sent_again_gives_the_same_answer_and_stores_nothing_twice() {
    let service = Service::new();
    let with_blanks = body(7, "ann", 1).replace(":{", " : { ");
    for body in [body(7, "ann", 1), body(7, "ann", 1), with_blanks] {
        let answer = service.post(body).await;
        assert_eq!(answer.ok(201)["eventId"], Uuid::from_u128(7).to_string());
        assert_eq!(answer.header("location").unwrap(), format!("/events/ann/{}", Uuid::from_u128(7)));
    }
    assert_eq!((service.rows(), service.items()), (1, 1));
}

#[tokio::test]
async fn a_repeat_without_a_timestamp_has_that_of_the_first() {
    let service = Service::new();
    let body = format!(r#"{{"eventId":"{}","userId":"ann","eventType":"T"}}"#, Uuid::from_u128(7));
    service.post(&body).await.ok(201);
    let first = service.get("/events/ann").await.ok(200);
    service.details.items.lock().unwrap().values_mut().for_each(|event| {
        event.metadata.timestamp -= chrono::TimeDelta::days(1);
    });
    service.metadata.rows.lock().unwrap().clear();
    service.post(&body).await.ok(201);
    let second = service.get("/events/ann").await.ok(200);
    assert!(second[0]["timestamp"].as_str() < first[0]["timestamp"].as_str());
}

#[tokio::test]
async fn an_idempotency_key_sent_again_gives_the_same_answer_and_is_its_users_own() {
    let service = Service::new();
    let ann = r#"{"userId":"ann","eventType":"T","details":[1]}"#;
    let first = service.post_with_key("k", ann).await.ok(201);
    assert_eq!(service.post_with_key("k", ann).await.ok(201), first);
    assert_eq!((service.rows(), service.items()), (1, 1));
    let bob = service.post_with_key("k", r#"{"userId":"bob","eventType":"T","details":[1]}"#).await.ok(201);
    assert_ne!(bob, first);
    assert_ne!(service.post_with_key("other", ann).await.ok(201), first);
}

#[tokio::test]
async fn a_key_and_an_id_are_taken_together_where_they_stand_for_the_same() {
    let service = Service::new();
    service.metadata.script.set("insert", Trouble::Fails(DatabaseError::Away("gone".to_owned())), 1);
    let ann = r#"{"userId":"ann","eventType":"T","details":[1]}"#;
    let told = service.post_with_key("k", ann).await.problem(503);
    let id = told["eventId"].as_str().unwrap();
    // A request that follows the advice of a 503 to the letter, and keeps its key, is the same request.
    let both = ann.replace('{', &format!(r#"{{"eventId":"{id}","#));
    for _ in 0..2 {
        assert_eq!(service.post_with_key("k", &both).await.ok(201)["eventId"], id);
    }
    assert_eq!(service.post_with_key("k", ann).await.ok(201)["eventId"], id);
    // Another id would have the key store a second event.
    let refused = service.post_with_key("k", body(7, "ann", 1)).await;
    assert_eq!(refused.problem(422)["errors"][0]["field"], "eventId");
    service.post_with_key("k", both.replace("ann", "bob")).await.problem(422);
    assert_eq!((service.rows(), service.items()), (1, 1));
}

#[tokio::test]
async fn the_id_of_an_event_whose_details_were_lost_gets_no_other_details() {
    for key in [None, Some("k")] {
        let service = Service::new();
        let ann = body(7, "ann", 1);
        let post = async |body: &str| match key {
            Some(key) => service.post_with_key(key, body).await,
            None => service.post(body).await,
        };
        let ann = if key.is_some() {
            ann.replace(&format!(r#""eventId":"{}","#, Uuid::from_u128(7)), "")
        } else {
            ann
        };
        post(&ann).await.ok(201);
        service.details.items.lock().unwrap().clear();
        let other = if key.is_some() { ann.replace("LOGIN", "LOGOUT") } else { ann.replace("ann", "bob") };
        // Also one whose attempt before broke off between the put and its being taken back.
        service.metadata.script.set("of_id", Trouble::Fails(DatabaseError::Away("gone".to_owned())), 1);
        assert_eq!(post(&other).await.problem(503)["possiblyWritten"], true);
        for _ in 0..2 {
            post(&other).await.problem(if key.is_some() { 422 } else { 409 });
            assert_eq!((service.rows(), service.items()), (1, 0));
            assert_eq!(service.get("/events/ann").await.ok(200)[0]["detailsMissing"], true);
        }
        // The same again puts them back.
        post(&ann).await.ok(201);
        assert_eq!(service.get("/events/ann").await.ok(200)[0]["details"]["n"], 7);
    }
}

#[tokio::test]
async fn lost_details_are_put_back_by_one_who_gave_no_time_too() {
    let service = Service::new();
    let body =
        format!(r#"{{"eventId":"{}","userId":"ann","eventType":"T","details":1}}"#, Uuid::from_u128(7));
    service.post(&body).await.ok(201);
    service.details.items.lock().unwrap().clear();
    service.metadata.rows.lock().unwrap()[0].metadata.timestamp -= chrono::TimeDelta::days(1);
    for _ in 0..2 {
        service.post(&body).await.ok(201);
    }
    assert_eq!(service.get("/events/ann").await.ok(200)[0]["details"], 1);
}

#[tokio::test]
async fn an_id_or_a_key_of_another_event_is_refused_and_changes_nothing() {
    let service = Service::new();
    service.post(body(7, "ann", 1)).await.ok(201);
    let others = [
        body(7, "bob", 1),
        body(7, "ann", 2),
        body(7, "ann", 1).replace("LOGIN", "LOGOUT"),
        body(7, "ann", 1).replace("\"n\":7", "\"n\":7.0"),
        body(7, "ann", 1).replace(",\"details\":{\"n\":7}", ""),
    ];
    for other in others {
        service.post(&other).await.problem(409);
    }
    service.post_with_key("k", r#"{"userId":"ann","eventType":"T"}"#).await.ok(201);
    service.post_with_key("k", r#"{"userId":"ann","eventType":"U"}"#).await.problem(422);
    assert_eq!((service.rows(), service.items()), (2, 2));
    assert!(
        service
            .log
            .counts()
            .metrics()
            .iter()
            .any(|figure| { figure.name == "highwater_eventlog_conflicting_total" && figure.value == 6 })
    );
}

#[tokio::test]
async fn each_field_has_its_rules_and_all_faults_are_told_at_once() {
    let service = Service::new();
    let long = "x".repeat(257);
    let cases: &[(String, &[&str])] = &[
        ("{}".into(), &["userId", "eventType"]),
        (r#"{"userId":1,"eventType":[]}"#.into(), &["userId", "eventType"]),
        (r#"{"userId":" ","eventType":"\t"}"#.into(), &["userId", "eventType"]),
        (r#"{"userId":"a\u0000b","eventType":"a\nb"}"#.into(), &["userId", "eventType"]),
        (format!(r#"{{"userId":"{long}","eventType":"T"}}"#), &["userId"]),
        (format!(r#"{{"userId":"a","eventType":"{}"}}"#, &long[..129]), &["eventType"]),
        (r#"{"userId":"a/b","eventType":"T"}"#.into(), &["userId"]),
        (r#"{"userId":"a?","eventType":"T"}"#.into(), &["userId"]),
        (r#"{"userId":" . ","eventType":"T"}"#.into(), &["userId"]),
        (r#"{"userId":"..","eventType":"T"}"#.into(), &["userId"]),
        (r#"{"userId":"a","eventType":"T","eventId":"7"}"#.into(), &["eventId"]),
        (r#"{"userId":"a","eventType":"T","eventId":7}"#.into(), &["eventId"]),
        (r#"{"userId":"a","eventType":"T","timestamp":"yesterday"}"#.into(), &["timestamp"]),
        (r#"{"userId":"a","eventType":"T","timestamp":"0000-01-01T00:00:00Z"}"#.into(), &["timestamp"]),
        (r#"{"userId":"a","eventType":"T","timestamp":1}"#.into(), &["timestamp"]),
        (r#"{"userId":"a","eventType":"T","details":1,"details":2}"#.into(), &["details"]),
        ("[]".into(), &[]),
        ("{".into(), &[]),
        (r#"{"userId":"a","eventType":"T","details":}"#.into(), &[]),
        (r#"{"userId":"a","eventType":"T","details":[}"#.into(), &[]),
        (format!(r#"{{"userId":"a","eventType":"T","details":{}}}"#, "[".repeat(40)), &[]),
    ];
    for (body, expected) in cases {
        assert_eq!(service.post(body).await.faults(), *expected, "{body}");
    }
    assert_eq!((service.rows(), service.items()), (0, 0));
    for user in ["...", ". .", ".a", "a\\\\b", "%2F", "#"] {
        service.post(format!(r#"{{"userId":"{user}","eventType":"T"}}"#)).await.ok(201);
    }
    // The longest, in characters of two UTF-16 units each.
    let body = format!(r#"{{"userId":"{}","eventType":"{}"}}"#, "😀".repeat(256), "😀".repeat(128));
    service.post(body).await.ok(201);
}

#[tokio::test]
async fn an_event_of_400_kib_is_kept_and_a_larger_one_is_413() {
    let service = Service::new();
    // 153 bytes of names and fixed values, the user, the type, and two quotes.
    let room = MOST_ITEM_BYTES - 153 - 3 - 1 - 2;
    let body =
        |length: usize| format!(r#"{{"userId":"ann","eventType":"T","details":"{}"}}"#, "x".repeat(length));
    service.post(body(room + 1)).await.problem(413);
    assert_eq!(service.items(), 0);
    service.post(body(room)).await.ok(201);
    // Blanks are not kept, and do not count.
    service.post(body(room).replace(":\"x", &format!(":{}\"x", " ".repeat(1_000)))).await.ok(201);
    service.post("x".repeat((1 << 20) + 1)).await.problem(413);
    assert_eq!(ids(&service.get("/events/ann").await).len(), 2);
}

#[tokio::test]
async fn a_body_that_is_said_to_be_no_json_is_415_and_an_answer_has_its_correlation() {
    let service = Service::new();
    let request = warp::test::request().method("POST").path("/events").header("x-correlation-id", "abc");
    let form = request.header("content-type", "application/x-www-form-urlencoded").body("a=b");
    let answer = service.send(form).await;
    answer.problem(415);
    assert_eq!(answer.header("x-correlation-id"), Some("abc"));
    assert!(service.post(body(7, "ann", 1)).await.header("x-correlation-id").is_some());
}
