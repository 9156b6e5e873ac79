//! Each database failing at each call, and taking too long.

use highwater_eventlog::DatabaseError;
use tokio::time::Instant;
use uuid::Uuid;

use super::fakes::{Service, TIMEOUT, Trouble, body};

fn away() -> DatabaseError {
    DatabaseError::Away("connection refused by 10.0.0.1".to_owned())
}

fn throttled() -> DatabaseError {
    DatabaseError::Throttled("slow down".to_owned())
}

fn refused() -> DatabaseError {
    DatabaseError::Refused("no such table".to_owned())
}

#[tokio::test(start_paused = true)]
async fn where_the_details_cannot_be_put_nothing_was_recorded_unless_it_may_have_been() {
    for (trouble, possibly) in [
        (Trouble::Fails(away()), true),
        (Trouble::Fails(refused()), false),
        (Trouble::Fails(throttled()), false),
        (Trouble::Hangs, true),
    ] {
        let service = Service::new();
        service.details.script.set("put", trouble, usize::MAX);
        let problem = service.post(body(7, "ann", 1)).await;
        let told = problem.problem(503);
        assert_eq!(told["possiblyWritten"], possibly, "{told}");
        assert_eq!(told["eventId"], Uuid::from_u128(7).to_string());
        assert_eq!(problem.header("retry-after"), Some("1"));
        assert!(!told.to_string().contains("10.0.0.1"), "what is inside stays inside: {told}");
        assert_eq!(service.rows(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_row_cannot_be_inserted_the_event_may_come_about_and_asking_again_records_it() {
    for trouble in [
        Trouble::Fails(away()),
        Trouble::Fails(refused()),
        Trouble::Fails(throttled()),
        Trouble::FailsAfter(away()),
        Trouble::Hangs,
        Trouble::HangsAfter,
    ] {
        let service = Service::new();
        service.metadata.script.set("insert", trouble, usize::MAX);
        let told = service.post(r#"{"userId":"ann","eventType":"T","details":1}"#).await.problem(503);
        assert_eq!(told["possiblyWritten"], true, "{told}");
        service.metadata.script.clear();
        // Also a client that gave no id can ask again: it was told one.
        let id = told["eventId"].as_str().unwrap();
        let again = format!(r#"{{"eventId":"{id}","userId":"ann","eventType":"T","details":1}}"#);
        assert_eq!(service.post(again).await.ok(201)["eventId"], id);
        assert_eq!(service.listed("/events/ann").await, [id]);
        assert_eq!(service.items(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_throttled_for_a_while_is_asked_again_within_the_deadline() {
    let service = Service::new();
    service.details.script.set("put", Trouble::Fails(throttled()), 4);
    service.metadata.script.set("insert", Trouble::Fails(throttled()), 2);
    let began = Instant::now();
    service.post(body(7, "ann", 1)).await.ok(201);
    assert!(began.elapsed() < TIMEOUT);
    service.metadata.script.set("list", Trouble::Fails(throttled()), 2);
    service.details.script.set("details", Trouble::Fails(throttled()), 2);
    assert_eq!(service.listed("/events/ann").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_request_has_its_answer_when_time_is_up() {
    let hang = |database: &str, call: &'static str| {
        let service = Service::new();
        let script = if database == "sql" { &service.metadata.script } else { &service.details.script };
        script.set(call, Trouble::Hangs, usize::MAX);
        service
    };
    for (database, call) in [("dynamo", "put"), ("sql", "insert")] {
        let (service, began) = (hang(database, call), Instant::now());
        service.post(body(7, "ann", 1)).await.problem(503);
        assert!(began.elapsed() <= TIMEOUT, "{call}");
    }
    for (database, call) in [("sql", "list"), ("dynamo", "details"), ("sql", "find")] {
        let (service, began) = (hang(database, call), Instant::now());
        service.post(body(7, "ann", 1)).await.ok(201);
        let path =
            if call == "find" { format!("/events/ann/{}", Uuid::from_u128(7)) } else { "/events/ann".into() };
        service.get(&path).await.problem(503);
        assert!(began.elapsed() <= TIMEOUT, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_a_database_fails_is_503_and_works_again_after() {
    for error in [away(), refused(), throttled()] {
        for (database, call) in [("sql", "list"), ("dynamo", "details")] {
            let service = Service::new();
            service.post(body(7, "ann", 1)).await.ok(201);
            let script = if database == "sql" { &service.metadata.script } else { &service.details.script };
            script.set(call, Trouble::Fails(error.clone()), usize::MAX);
            let answer = service.get("/events/ann").await;
            answer.problem(503);
            assert_eq!(answer.header("retry-after"), Some("1"));
            script.clear();
            assert_eq!(service.listed("/events/ann").await.len(), 1);
        }
    }
}

#[tokio::test]
async fn what_dynamodb_finds_too_large_is_413() {
    let service = Service::new();
    service.details.script.set("put", Trouble::Fails(DatabaseError::TooLarge), 1);
    service.post(body(7, "ann", 1)).await.problem(413);
    assert_eq!(service.get("/health").await.ok(200)["databases"]["dynamoDb"]["connected"], true);
}
