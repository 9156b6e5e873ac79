//! The log line of a published event.

use std::collections::BTreeMap;

use highwater::activity::LoggedEvents;
use highwater_kafka::{PublishError, Receipt};
use log::Level;

use super::service::{Service, event};
use crate::journal;

const LOGIN: &str = r#"{"userId":"u-1","eventType":"LOGIN"}"#;

#[tokio::test]
async fn a_published_event_is_one_line_with_its_id_partition_and_offset() {
    let service = Service::that_answers(Ok(Receipt { partition: 7, offset: Some(41) }));
    for (path, status) in [("/events/generate", 201), ("/api/events", 202)] {
        journal::listen();
        let id = service.post(path, LOGIN).await.ok(status)["eventId"].as_str().unwrap().to_owned();
        let lines = journal::take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!((line.level, line.target.as_str()), (Level::Info, "highwater::published"));
        assert_eq!(line.message, "published");
        let fields = [("eventId", id.as_str()), ("partition", "7"), ("offset", "41")];
        assert_eq!(
            line.fields,
            BTreeMap::from(fields.map(|(key, value)| (key.to_owned(), value.to_owned())))
        );
    }
}

#[tokio::test]
async fn an_event_that_is_not_chosen_has_no_published_line() {
    let service = Service { logged_events: LoggedEvents::NONE, ..Service::new() };
    journal::listen();
    service.post("/events/generate", LOGIN).await.ok(201);
    assert_eq!(journal::take(), []);
}

#[tokio::test]
async fn a_failed_publish_logs_no_published_line() {
    let service = Service::that_answers(Err(PublishError::QueueFull));
    journal::listen();
    service.post("/events/generate", LOGIN).await.problem(503);
    service.post("/events/generate", "{}").await.problem(400);
    assert_eq!(journal::take(), []);
}

#[tokio::test]
async fn a_read_logs_nothing() {
    let service = Service::new();
    service.processed(event(1, "u", "LOGIN")).await;
    journal::listen();
    for path in [
        "/events/processed",
        "/events/processed/00000000-0000-0000-0000-000000000001",
        "/events/processed/00000000-0000-0000-0000-000000000002",
        "/api/events?limit=1",
        "/api/events?limit=none",
        "/api/events/user/u",
        "/api/events/type/login",
        "/health",
        "/ready",
        "/nowhere",
    ] {
        service.get(path).await;
    }
    assert_eq!(journal::take(), []);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn reads_that_fail_while_the_store_is_away_make_few_lines() {
    use highwater::{
        activity::{Api, routes},
        store::{PostgresConfig, PostgresStore, PostgresUrl},
    };

    let second = std::time::Duration::from_secs(1);
    let config = PostgresConfig {
        url: PostgresUrl::parse("postgres://user:password@127.0.0.1:1/away").unwrap(),
        schema: "highwater".to_owned(),
        topic: "events".to_owned(),
        connections: (1, 1),
        connect_timeout: second,
        timeout: second,
        migrate: false,
        retention: None,
    };
    let store = std::sync::Arc::new(PostgresStore::open(config).await.unwrap());
    let tree = routes(std::sync::Arc::new(Api { store, ..Service::new().api() }));
    journal::listen();
    let (mut reads, mut told) = (0, 0);
    while reads < 100 || told == 0 {
        let answer = warp::test::request().path("/events/processed/00000000-0000-0000-0000-000000000001");
        assert_eq!(answer.reply(&tree).await.status(), 503);
        reads += 1;
        told += journal::take().iter().filter(|line| line.message.starts_with("a read failed: ")).count();
    }
    // One a second, on however slow a machine.
    assert!(told < reads / 2, "{told} of {reads}");
}
