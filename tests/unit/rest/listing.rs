//! Listings: their shape, filters, pages and lines.

use chrono::{TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::service::{Answer, Service, changed, event, event_at};
use highwater_kafka::PartitionStatus;

fn ids(events: &Value) -> Vec<u128> {
    let id = |event: &Value| Uuid::parse_str(event["eventId"].as_str().unwrap()).unwrap().as_u128();
    events.as_array().unwrap().iter().map(id).collect()
}

/// The address that a `Link: <…>; rel="next"` names.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

async fn with_three() -> Service {
    let service = Service::new();
    service.processed(event(3, "ann", "LOGIN")).await;
    service.processed(event(1, "bob", "login")).await;
    service.processed(event(2, "ann", "PRODUCT_VIEW")).await;
    service
}

#[tokio::test]
async fn processed_events_are_an_array_in_the_order_of_processing() {
    let service = with_three().await;
    let events = service.get("/events/processed").await.ok(200);
    assert_eq!(ids(&events), [3, 1, 2]);
    assert_eq!(
        events[0],
        json!({
            "eventId": Uuid::from_u128(3).to_string(), "userId": "ann", "eventType": "LOGIN",
            "timestamp": "2026-05-01T10:00:00.000Z", "payload": {"n": 1.0}
        })
    );
}

#[tokio::test]
async fn nothing_processed_is_an_empty_listing_and_not_an_error() {
    let service = Service::new();
    assert_eq!(service.get("/events/processed").await.ok(200), json!([]));
    assert_eq!(service.get("/api/events").await.ok(200), json!({"count": 0, "events": []}));
    assert_eq!(
        service.get("/api/events/user/nobody").await.ok(200),
        json!({"userId": "nobody", "count": 0, "events": []})
    );
    assert_eq!(
        service.get("/api/events/type/none").await.ok(200),
        json!({"eventType": "none", "count": 0, "events": []})
    );
}

#[tokio::test]
async fn api_listings_count_their_events_and_call_the_payload_metadata() {
    let service = with_three().await;
    let answer = service.get("/api/events").await;
    let body = answer.ok(200);
    assert_eq!((ids(&body["events"]), &body["count"]), (vec![3, 1, 2], &json!(3)));
    assert_eq!(body["events"][0]["metadata"], json!({"n": 1.0}));
    assert_eq!(body["events"][0].get("payload"), None);
    assert!(answer.text().contains("\"metadata\":{\"n\":1.0}"), "as it came: {}", answer.text());
}

#[tokio::test]
async fn a_users_listing_has_only_events_of_that_user() {
    let service = with_three().await;
    let body = service.get("/api/events/user/ann").await.ok(200);
    assert_eq!(
        (&body["userId"], ids(&body["events"]), &body["count"]),
        (&json!("ann"), vec![3, 2], &json!(2))
    );
    assert_eq!(service.get("/api/events/user/ANN").await.ok(200)["count"], 0, "users compare exactly");
}

#[tokio::test]
async fn types_are_compared_without_case_and_the_answer_has_the_given_one() {
    let body = with_three().await.get("/api/events/type/LogIn").await.ok(200);
    assert_eq!((&body["eventType"], ids(&body["events"])), (&json!("LogIn"), vec![3, 1]));
}

#[tokio::test]
async fn values_in_a_path_are_percent_decoded() {
    let service = Service::new();
    service.processed(event(1, "a b/ü", "say \"hi\"")).await;
    let body = service.get("/api/events/user/a%20b%2F%C3%BC").await.ok(200);
    assert_eq!((&body["userId"], &body["count"]), (&json!("a b/ü"), &json!(1)));
    let body = service.get("/api/events/type/SAY%20%22hi%22").await.ok(200);
    assert_eq!((&body["eventType"], &body["count"]), (&json!("SAY \"hi\""), &json!(1)));
    // A plus in a path is a plus: only forms write a space so.
    assert_eq!(service.get("/api/events/user/a+b").await.ok(200)["userId"], "a+b");
    for broken in ["%", "%f", "%zz", "%ff", "%C3%28", "a%2"] {
        assert_eq!(service.get(&format!("/api/events/user/{broken}")).await.faults(), ["userId"]);
        assert_eq!(service.get(&format!("/api/events/type/{broken}")).await.faults(), ["eventType"]);
    }
}

#[tokio::test]
async fn filters_narrow_every_listing() {
    let service = with_three().await;
    for (path, expected) in [
        ("/events/processed?userId=ann", vec![3, 2]),
        ("/events/processed?eventType=login", vec![3, 1]),
        ("/events/processed?userId=ann&eventType=LOGIN", vec![3]),
        ("/events/processed?&userId=bob&", vec![1]),
    ] {
        assert_eq!(ids(&service.get(path).await.ok(200)), expected, "{path}");
    }
    let body = service.get("/api/events/user/ann?eventType=product_view").await.ok(200);
    assert_eq!((ids(&body["events"]), &body["count"]), (vec![2], &json!(1)));
    let body = service.get("/api/events/type/login?userId=bob").await.ok(200);
    assert_eq!(ids(&body["events"]), [1]);
}

#[tokio::test]
async fn a_filter_by_time_includes_its_beginning_and_excludes_its_end() {
    let service = Service::new();
    let noon = Utc.with_ymd_and_hms(2026, 5, 1, 12, 0, 0).unwrap();
    for hour in 0..4 {
        service.processed(event_at(hour, "u", "LOGIN", noon + TimeDelta::hours(hour as i64))).await;
    }
    for (query, expected) in [
        ("from=2026-05-01T13:00:00Z", vec![1, 2, 3]),
        ("to=2026-05-01T14:00:00Z", vec![0, 1]),
        ("from=2026-05-01T13:00:00&to=2026-05-01T14:00:00.001", vec![1, 2]),
        ("from=2026-05-01T16:00:00+02:00", vec![2, 3]),
        ("from=2026-05-01T16%3A00%3A00%2B02%3A00", vec![2, 3]),
    ] {
        let path = format!("/events/processed?{query}");
        assert_eq!(ids(&service.get(&path).await.ok(200)), expected, "{query}");
    }
}

#[tokio::test]
async fn all_malformed_parameters_are_in_one_answer() {
    let service = Service::new();
    for (query, expected) in [
        ("limit=0", vec!["limit"]),
        ("limit=10001", vec!["limit"]),
        ("limit=ten", vec!["limit"]),
        ("limit=", vec!["limit"]),
        ("from=today&to=tomorrow&limit=-1", vec!["from", "to", "limit"]),
        ("userId=%ff", vec!["userId"]),
        ("userId=a&userId=a", vec!["userId"]),
        ("limit=1&limit=2&eventType=%", vec!["eventType", "limit"]),
        ("cursor=x", vec!["cursor"]),
        ("order=down", vec!["order"]),
        ("order=DESC&limit=0", vec!["order", "limit"]),
    ] {
        for path in ["/events/processed", "/api/events"] {
            assert_eq!(service.get(&format!("{path}?{query}")).await.faults(), expected, "{query}");
        }
    }
    assert_eq!(service.get("/api/events/user/a?userId=b").await.faults(), ["userId"]);
    assert_eq!(service.get("/api/events/type/a?eventType=b").await.faults(), ["eventType"]);
}

#[tokio::test]
async fn a_parameter_that_is_not_known_is_refused_and_the_known_ones_are_named() {
    let service = with_three().await;
    for path in ["/events/processed", "/api/events", "/api/events/user/ann", "/api/events/type/LOGIN"] {
        for (query, expected) in [
            ("userid=bob", vec!["userid"]),
            ("user%69d=bob", vec!["userid"]),
            ("sort=asc&limit=x", vec!["limit", "sort"]),
            ("page=2&page=3", vec!["page"]),
            ("%ff=1", vec!["%ff"]),
        ] {
            assert_eq!(service.get(&format!("{path}?{query}")).await.faults(), expected, "{path}?{query}");
        }
        let problem = service.get(&format!("{path}?userid=bob")).await.problem(400);
        let message = problem["errors"][0]["message"].as_str().unwrap();
        let fixed = ["user/", "type/"].iter().any(|fixed| path.contains(fixed));
        assert!(message.contains("from, to, "), "{message}");
        assert!(fixed || message.ends_with("userId, eventType, limit, cursor"), "{message}");
    }
    let many: Vec<_> = (0..500).map(|number| format!("{number}{}", "x".repeat(100))).collect();
    let answer = service.get(&format!("/api/events?{}", many.join("&"))).await;
    assert!(answer.text().len() < 2_000, "{} bytes", answer.text().len());
    let of_one = "/events/processed/01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(service.get(&format!("{of_one}?timeout=2s")).await.faults(), ["timeout"]);
    service.get("/health?verbose=1").await.ok(200);
}

#[tokio::test]
async fn pages_have_each_event_once_and_keep_their_filters() {
    let service = Service::new();
    for number in 0..10 {
        service.processed(event(number, ["a b&/ü", "other"][number as usize % 2], "LOGIN")).await;
    }
    // Only the filters by time keep these out, and only where a first page has been.
    for year in [2025, 2027] {
        let then = Utc.with_ymd_and_hms(year, 5, 1, 10, 0, 0).unwrap();
        service.processed(event_at(year as u128, "a b&/ü", "LOGIN", then)).await;
    }
    for (first, shape) in [
        (
            "/events/processed?limit=2&userId=a+b%26%2F%C3%BC&from=2026-01-01T01:00:00%2B01:00&to=2027-01-01T00:00:00",
            "",
        ),
        (
            "/api/events/user/a%20b&%2F%C3%BC?limit=2&eventType=login&from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z",
            "events",
        ),
    ] {
        let mut seen = Vec::new();
        let mut pages = 0;
        let mut path = Some(first.to_owned());
        while let Some(page) = path {
            let answer = service.get(&page).await;
            let body = answer.ok(200);
            let events = if shape.is_empty() { &body } else { &body[shape] };
            assert!(events.as_array().unwrap().len() <= 2);
            seen.extend(ids(events));
            pages += 1;
            path = next(&answer);
        }
        assert_eq!(seen, [0, 2, 4, 6, 8], "{first}");
        assert_eq!(pages, 3, "the last page says that it is the last");
    }
}

#[tokio::test]
async fn a_listing_without_a_limit_comes_whole_and_without_a_link() {
    let service = Service::new();
    for number in 0..1500 {
        service.processed(event(number, "u", "LOGIN")).await;
    }
    let answer = service.get("/events/processed").await;
    assert_eq!(ids(&answer.ok(200)), (0..1500).collect::<Vec<_>>());
    assert_eq!(answer.header("link"), None);
    let body = service.get("/api/events").await.ok(200);
    assert_eq!((body["count"].as_u64(), body["events"].as_array().unwrap().len()), (Some(1500), 1500));
}

#[tokio::test]
async fn a_cursor_goes_on_in_another_process_and_after_a_restart() {
    let paths = |order| format!("/events/processed?limit=1{order}");
    for (order, expected) in [("", [1, 2]), ("&order=desc", [1, 3])] {
        let path = next(&with_three().await.get(&paths(order)).await).unwrap();
        let other = with_three().await;
        let answer = other.get(&path).await;
        assert_eq!(ids(&answer.ok(200)), expected[..1]);
        assert_eq!(ids(&with_three().await.get(&next(&answer).unwrap()).await.ok(200)), expected[1..]);
    }
}

#[tokio::test]
async fn what_no_answer_had_as_a_cursor_asks_to_start_again() {
    let service = with_three().await;
    for cursor in
        ["x", "0", "0-", "-1", "0-1-", "0-1-0-2", "0--1", "0-+1", "80000000-0", "0-8000000000000000", "0-1 "]
    {
        let answer = service.get(&format!("/events/processed?cursor={}", cursor.replace(' ', "%20"))).await;
        assert_eq!(answer.faults(), ["cursor"], "{cursor}");
        assert!(answer.text().contains("start again without it"), "{}", answer.text());
    }
    // Beyond what there is, as after the topic was made anew, there is nothing.
    assert!(ids(&service.get("/events/processed?cursor=0-fffff").await.ok(200)).is_empty());
}

#[tokio::test]
async fn ndjson_has_one_line_per_event() {
    let service = with_three().await;
    for (path, payload) in [
        ("/events/processed?userId=ann", "payload"),
        ("/api/events?userId=ann", "metadata"),
        ("/api/events/user/ann", "metadata"),
    ] {
        let request = warp::test::request().path(path).header("accept", "application/x-ndjson");
        let answer = service.send(request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        assert!(answer.text().ends_with('\n'));
        let lines: Vec<Value> =
            answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(ids(&Value::from(lines.clone())), [3, 2]);
        assert_eq!(lines[0][payload], json!({"n": 1.0}));
    }
    let request =
        warp::test::request().path("/events/processed?limit=1").header("accept", "application/x-ndjson");
    assert!(next(&service.send(request).await).is_some(), "pages work for lines as well");
}

#[tokio::test]
async fn any_other_accept_gives_json() {
    let service = with_three().await;
    for accept in [
        "*/*",
        "text/html",
        "application/xml;q=0.9",
        "application/json, application/x-ndjson;q=0.5",
        "",
        "application/x-ndjson;q=0",
    ] {
        let request = warp::test::request().path("/events/processed").header("accept", accept);
        let answer = service.send(request).await;
        assert_eq!(ids(&answer.ok(200)).len(), 3);
        assert_eq!(answer.header("vary"), Some("accept"));
    }
}

#[tokio::test]
async fn a_descending_listing_has_each_event_once_while_others_arrive() {
    let service = Service::new();
    for number in 0..7 {
        service.processed(event(number, ["ann", "bob"][number as usize % 2], "LOGIN")).await;
    }
    assert_eq!(ids(&service.get("/events/processed?order=desc").await.ok(200)), [6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(ids(&service.get("/events/processed?order=asc&limit=3").await.ok(200)), [0, 1, 2]);
    let (mut seen, mut arrived) = (Vec::new(), 100);
    let mut path = Some("/api/events/user/ann?order=desc&limit=2".to_owned());
    while let Some(page) = path {
        let answer = service.get(&page).await;
        let body = answer.ok(200);
        assert_eq!(body["count"], body["events"].as_array().unwrap().len());
        seen.extend(ids(&body["events"]));
        path = next(&answer);
        assert!(path.as_ref().is_none_or(|path| path.contains("order=desc")), "{path:?}");
        service.processed(event(arrived, "ann", "LOGIN")).await;
        arrived += 1;
    }
    assert_eq!(seen, [6, 4, 2, 0]);
}

#[tokio::test]
async fn a_cursor_is_a_boundary_between_two_events_for_both_directions() {
    let service = Service::new();
    for number in 0..6 {
        service.processed(event(number, "ann", "LOGIN")).await;
    }
    let path = next(&service.get("/events/processed?limit=2").await).unwrap();
    assert_eq!(ids(&service.get(&path).await.ok(200)), [2, 3]);
    assert_eq!(ids(&service.get(&format!("{path}&order=desc")).await.ok(200)), [1, 0], "back from there");
    let path = next(&service.get("/events/processed?limit=2&order=desc").await).unwrap();
    assert_eq!(ids(&service.get(&path).await.ok(200)), [3, 2]);
    let turned = path.replace("order=desc", "order=asc");
    assert_eq!(ids(&service.get(&turned).await.ok(200)), [4, 5], "forth from there");
}

#[tokio::test]
async fn a_listing_and_a_404_say_which_partitions_they_are_from_and_whether_these_are_restored() {
    const EVENT: &str = "/events/processed/00000000-0000-0000-0000-000000000009";
    let service = with_three().await;
    let held = |partition, restored| {
        changed(|status: &mut PartitionStatus| (status.partition, status.restored) = (partition, restored))
    };
    for (partitions, of, expected) in [
        (vec![], 0, "held=\"\", restored=\"\", of=0, whole=?0"),
        (
            vec![held(0, true), held(1, false), held(2, true)],
            3,
            "held=\"0-2\", restored=\"0,2\", of=3, whole=?0",
        ),
        (
            (0..3).map(|number| held(number, true)).collect(),
            3,
            "held=\"0-2\", restored=\"0-2\", of=3, whole=?1",
        ),
        (
            vec![held(1, true), held(2, true), held(5, true)],
            6,
            "held=\"1-2,5\", restored=\"1-2,5\", of=6, whole=?0",
        ),
    ] {
        service.status.send_modify(|status| {
            status.group.partitions.clone_from(&partitions);
            status.group.topic_partitions = of;
        });
        for path in ["/events/processed", "/api/events?limit=1", "/api/events/user/nobody", EVENT] {
            let answer = service.get(path).await;
            assert_eq!(answer.header("highwater-partitions"), Some(expected), "{path}");
        }
    }
    service.get(EVENT).await.problem(404);
}
