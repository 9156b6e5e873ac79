//! `GET /events/{userId}` and one event.

use std::collections::HashSet;

use highwater_eventlog::{Front, MOST_BYTES, MOST_ESCAPED_BYTES};
use uuid::Uuid;

use super::fakes::{Service, body, ids, next};

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

#[tokio::test]
async fn a_users_events_come_newest_first_and_an_unknown_user_has_none() {
    let service = Service::new();
    for (number, user, second) in [(1, "ann", 5), (2, "bob", 6), (3, "ann", 7), (4, "ann", 6)] {
        service.post(body(number, user, second)).await.ok(201);
    }
    assert_eq!(service.listed("/events/ann").await, [id(3), id(4), id(1)]);
    assert_eq!(service.listed("/events/Ann").await, [""; 0]);
    let nobody = service.get("/events/nobody").await;
    assert_eq!((nobody.ok(200).to_string().as_str(), nobody.header("link")), ("[]", None));
}

#[tokio::test]
async fn pages_over_ties_in_timestamp_have_every_event_once() {
    let service = Service::new();
    // Ids fall as they come, so that neither they nor chance can be what orders them.
    for number in (1..=23_u128).rev() {
        service.post(body(number, "ann", (number / 10) as u32)).await.ok(201);
    }
    let whole = service.listed("/events/ann").await;
    assert_eq!(whole.iter().collect::<HashSet<_>>().len(), 23);
    assert_eq!(&whole[..2], [id(20), id(21)], "of one second, the one recorded last comes first");
    for limit in [1, 2, 3, 7, 22, 23, 500] {
        let (mut path, mut all) = (format!("/events/ann?limit={limit}"), Vec::new());
        loop {
            let answer = service.get(&path).await;
            let page = ids(&answer);
            assert!(page.len() <= limit);
            all.extend(page);
            let Some(next) = next(&answer) else { break };
            path = next;
        }
        assert_eq!(all, whole, "limit {limit}");
    }
}

#[tokio::test]
async fn an_event_recorded_between_two_pages_shifts_none() {
    let service = Service::new();
    for number in 1..=4 {
        service.post(body(number, "ann", number as u32)).await.ok(201);
    }
    let first = service.get("/events/ann?limit=2").await;
    service.post(body(5, "ann", 59)).await.ok(201);
    assert_eq!(service.listed(&next(&first).unwrap()).await, [id(2), id(1)]);
}

#[tokio::test]
async fn filters_are_by_time_and_exact_type_and_stay_in_the_link() {
    let service = Service::new();
    for number in 1..=6 {
        let body = body(number, "ann", number as u32);
        let body = if number % 2 == 0 { body.replace("LOGIN", "LOG OUT") } else { body };
        service.post(body).await.ok(201);
    }
    let from = "from=2026-05-01T10:00:02Z";
    assert_eq!(service.listed(&format!("/events/ann?{from}&to=2026-05-01T10:00:04Z")).await, [id(3), id(2)]);
    assert_eq!(service.listed("/events/ann?eventType=login").await, [""; 0]);
    let first = service.get(&format!("/events/ann?eventType=LOG+OUT&{from}&limit=1")).await;
    assert_eq!(ids(&first), [id(6)]);
    let second = next(&first).unwrap();
    assert!(second.contains("eventType=LOG%20OUT") && second.contains("limit=1"), "{second}");
    assert_eq!(service.listed(&second).await, [id(4)]);
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_told_all_at_once() {
    let service = Service::new();
    let cursors = ["x", &"0".repeat(31), &"f".repeat(33), &format!("7{}-0", "f".repeat(15)), &"+".repeat(32)];
    for cursor in cursors {
        assert_eq!(service.get(&format!("/events/a?cursor={cursor}")).await.faults(), ["cursor"], "{cursor}");
    }
    let all = "/events/a?limit=501&cursor=x&from=now&to=1&eventType=";
    assert_eq!(service.get(all).await.faults(), ["eventType", "from", "to", "limit", "cursor"]);
    assert_eq!(service.get("/events/a?limit=0").await.faults(), ["limit"]);
    assert_eq!(service.get("/events/a?type=LOGIN").await.faults(), ["type"]);
    for user in ["%20", "a%2Fb", "a%3Fb", "ann%2F", "%2E", "%2e%2E", "%20.."] {
        assert_eq!(service.get(&format!("/events/{user}")).await.faults(), ["userId"], "{user}");
        assert_eq!(service.get(&format!("/events/{user}/{}", id(1))).await.faults(), ["userId"], "{user}");
    }
    assert_eq!(service.get("/events/a/b").await.faults(), ["eventId"]);
}

#[tokio::test]
async fn a_listing_without_limit_is_complete_up_to_its_bound_and_goes_on_after_it() {
    let service = Service::new();
    // 700 small ones are more than one question to SQL; 20 large ones more than one answer.
    for number in 1..=700 {
        service.post(body(number, "small", (number % 60) as u32)).await.ok(201);
    }
    let small = service.get("/events/small").await;
    assert_eq!((ids(&small).len(), small.header("link")), (700, None));
    assert!(service.details.batches.lock().unwrap().iter().all(|batch| *batch <= 100));

    for number in 1..=20 {
        let details = format!("\"{}\"", "x".repeat(390_000));
        let body = body(number, "large", number as u32).replace(&format!("{{\"n\":{number}}}"), &details);
        // The small ones have these ids.
        let body = body.replace(&id(number), &id(1_000 + number));
        service.post(body).await.ok(201);
    }
    let (mut path, mut seen) = ("/events/large".to_owned(), 0);
    loop {
        let answer = service.get(&path).await;
        assert!(answer.text().len() <= MOST_BYTES);
        seen += ids(&answer).len();
        let Some(next) = next(&answer) else { break };
        assert!(answer.text().len() > MOST_BYTES - 400_000, "no page is cut short");
        path = next;
    }
    assert_eq!(seen, 20);
}

#[tokio::test]
async fn an_answer_of_many_quotes_fits_into_what_lambda_takes_and_is_cut_nowhere_else() {
    // In all 3.9 MB, and 6.5 MB as a string within JSON.
    for (front, expected) in [(Front::Lambda, 2), (Front::Server, 1)] {
        let service = Service::behind(front);
        let details = format!("[{}1]", "\"\",".repeat(100_000));
        for number in 1..=13 {
            let body = format!(r#"{{"userId":"ann","eventType":"T{number}","details":{details}}}"#);
            service.post(body).await.ok(201);
        }
        let (mut path, mut seen, mut pages) = ("/events/ann".to_owned(), 0, 0);
        loop {
            let answer = service.get(&path).await;
            let length = serde_json::to_string(answer.text()).unwrap().len();
            assert!(front == Front::Server || length <= MOST_ESCAPED_BYTES);
            seen += ids(&answer).len();
            pages += 1;
            let Some(next) = next(&answer) else { break };
            path = next;
        }
        assert_eq!((seen, pages), (13, expected), "{front:?}");
    }
}

#[tokio::test]
async fn missing_details_are_told_and_counted_and_hide_no_other_event() {
    let service = Service::new();
    for number in 1..=3 {
        service.post(body(number, "ann", number as u32)).await.ok(201);
    }
    service.details.items.lock().unwrap().remove(&Uuid::from_u128(2));
    let listed = service.get("/events/ann").await.ok(200);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!((&listed[1]["detailsMissing"], listed[1].get("details")), (&true.into(), None));
    assert_eq!((&listed[0]["details"]["n"], listed[0].get("detailsMissing")), (&3.into(), None));
    let metrics = service.get("/metrics").await;
    assert!(metrics.text().contains("highwater_eventlog_details_missing_total 1"), "{}", metrics.text());
}

#[tokio::test(start_paused = true)]
async fn keys_left_unprocessed_are_asked_for_again_until_time_is_up() {
    let service = Service::new();
    for number in 1..=30 {
        service.post(body(number, "ann", number as u32)).await.ok(201);
    }
    *service.details.most.lock().unwrap() = Some(7);
    let listed = service.get("/events/ann").await.ok(200);
    assert!(listed.as_array().unwrap().iter().all(|event| event.get("details").is_some()));
    assert_eq!(*service.details.batches.lock().unwrap(), [30, 23, 16, 9, 2]);
    *service.details.most.lock().unwrap() = Some(0);
    service.get("/events/ann").await.problem(503);
}

#[tokio::test]
async fn an_event_is_found_by_its_user_and_id_alone() {
    let service = Service::new();
    service.post(body(1, "ann", 1)).await.ok(201);
    let found = service.get(&format!("/events/ann/{}", id(1))).await.ok(200);
    assert_eq!(found["details"]["n"], 1);
    service.get(&format!("/events/bob/{}", id(1))).await.problem(404);
    service.get(&format!("/events/ann/{}", id(2))).await.problem(404);
}

#[tokio::test]
async fn a_listing_asks_for_no_details_that_it_has_no_room_for() {
    let service = Service::new();
    for number in 1..=20 {
        let body =
            format!(r#"{{"userId":"ann","eventType":"T{number}","details":"{}"}}"#, "x".repeat(390_000));
        service.post(body).await.ok(201);
    }
    assert_eq!(service.get("/events/ann?limit=20").await.ok(200).as_array().unwrap().len(), 12);
    assert_eq!(*service.details.batches.lock().unwrap(), [12]);
}
