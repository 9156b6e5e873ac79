//! Checks of the second service: events in over REST and past it, through Kafka, and out again.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, bail, ensure};
use highwater_web::{http::client::Request, shutdown::Shutdown};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    checks::{ServiceUnderTest, shown, text},
    report::Report,
    second::SecondInstance,
};
use crate::config::Config;

/// The longest wait for the second service's partitions, or for a dead letter.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Values that are not events, with descriptions.
const MALFORMED: [(&str, Option<&str>); 3] = [
    ("text", Some("no event")),
    ("an object without an eventId", Some("{\"userId\":\"a\"}")),
    ("no value", None),
];

/// Starts a second service, checks it, and deletes its topics and groups, also after a shutdown.
pub(super) async fn check(config: Config, name: &str, shutdown: &Shutdown, report: &mut Report<'_>) {
    let types = config.activity.event_types.clone();
    let second = match SecondInstance::start(config, name).await {
        Ok(second) => second,
        Err(error) => {
            report.check("it starts", Err(error));
            return;
        }
    };
    tokio::select! {
        () = story(&second, name, &types, report) => {}
        () = shutdown.requested() => {
            report.check("it runs to its end", Err(anyhow::anyhow!("it was stopped")));
        }
    }
    report.check("it stops, and its topics and groups are deleted", second.end().await);
}

async fn story(second: &SecondInstance, name: &str, types: &[String], report: &mut Report<'_>) {
    if !report.check("its topics are made and its partitions assigned", ready(second).await) {
        return; // no other check would pass
    }
    let mut ids = BTreeSet::new();
    for (number, event_type) in types.iter().enumerate() {
        // Each event has its own user, so that more than one partition has work.
        let event =
            json!({"userId": format!("{name}-{number}"), "eventType": event_type, "payload": {"score": 1.0}});
        let stored = goes_through(&second.service, "/events/generate", 201, &event).await;
        report.check(&format!("an event of type {event_type}, from POST to GET"), note(stored, &mut ids));
    }
    let event = json!({"userId": name, "eventType": name, "metadata": {"score": 1.0}});
    let stored = goes_through(&second.service, "/api/events", 202, &event).await;
    report.check("an event of any type by /api/events", note(stored, &mut ids));

    let twin = json!({"eventId": Uuid::new_v4(), "userId": name, "eventType": types.first(),
        "timestamp": "2025-01-01T01:00:00+01:00", "payload": {"score": 1.0}});
    for time in ["first", "second", "third"] {
        let stored = goes_through(&second.service, "/events/generate", 201, &twin).await;
        report.check(&format!("the same eventId a {time} time"), note(stored, &mut ids));
    }
    report.check("and twice more through Kafka itself", twice(second, name, &twin.to_string()).await);
    for (what, value) in MALFORMED {
        report.check(&format!("a record that is no event: {what}"), second.write(name, value).await);
    }
    // The records of one user are in one partition, so this event is processed after the others.
    let last = json!({"userId": name, "eventType": types.first(), "payload": {"score": 1.0}});
    let stored = goes_through(&second.service, "/events/generate", 201, &last).await;
    report.check("an event behind them is processed", note(stored, &mut ids));
    report
        .check("the malformed ones are in the dead letter topic, with why", dead_letters(second, name).await);
    report.check("GET /events/processed: each event once", processed(&second.service, &ids).await);
    report.check("the same in pages", pages(&second.service, &ids).await);
    report.check("by user and by type", selected(&second.service, name, &twin).await);
    report.check(
        "GET /health: the copies were seen, and nothing is behind",
        caught_up(&second.service, &ids).await,
    );
}

/// Waits until the service is ready and has both its topics. The error is the reason that the service gives.
async fn ready(second: &SecondInstance) -> anyhow::Result<()> {
    let end = Instant::now() + TIMEOUT;
    loop {
        let answer = second.service.ask(&Request::get("/ready")).await?;
        let is_ready = answer.status == 200;
        // A topic that was made just now may have no leader yet, which is an error.
        if is_ready && second.has_dead_letter_topic().await.unwrap_or(false) {
            return Ok(());
        }
        if Instant::now() > end {
            let detail = answer.json();
            let reason =
                if is_ready { "there is no topic for dead letters" } else { text(&detail["detail"]) };
            bail!("not within {TIMEOUT:?}: {reason}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Posts an event, and waits until it can be read. Returns its id.
async fn goes_through(
    service: &ServiceUnderTest,
    route: &str,
    status: u16,
    event: &Value,
) -> anyhow::Result<String> {
    let taken = service.answers(status, &Request::post(route, event.to_string())).await?;
    let body = taken.json();
    let id = text(&body["eventId"]);
    ensure!(Uuid::try_parse(id).is_ok(), "no eventId: {}", shown(&taken));
    ensure!(event["eventId"].is_null() || event["eventId"] == id, "another eventId: {}", shown(&taken));
    let path = format!("/events/processed/{id}");
    ensure!(taken.header("location") == Some(path.as_str()), "Location is not {path}");
    let found = service.answers(200, &Request::get(format!("{path}?wait=10s"))).await?;
    let stored = found.json();
    for field in ["userId", "eventType"] {
        ensure!(stored[field] == event[field], "{field} is another: {}", shown(&found));
    }
    // Compared as text, since 1.0 must stay 1.0.
    ensure!(
        found.text().contains("\"payload\":{\"score\":1.0}"),
        "the payload is another: {}",
        shown(&found)
    );
    ensure!(text(&stored["timestamp"]).ends_with('Z'), "no time in UTC: {}", shown(&found));
    Ok(id.to_owned())
}

/// Remembers the id of a stored event.
fn note(stored: anyhow::Result<String>, ids: &mut BTreeSet<String>) -> anyhow::Result<()> {
    ids.insert(stored?);
    Ok(())
}

async fn twice(second: &SecondInstance, key: &str, value: &str) -> anyhow::Result<()> {
    second.write(key, Some(value)).await?;
    second.write(key, Some(value)).await
}

async fn dead_letters(second: &SecondInstance, name: &str) -> anyhow::Result<()> {
    let end = Instant::now() + TIMEOUT;
    let listed = loop {
        let listed = second.service.answers(200, &second.dead_letters()).await?.json();
        if listed["count"].as_u64() >= Some(MALFORMED.len() as u64) {
            break listed;
        }
        ensure!(Instant::now() < end, "not within {TIMEOUT:?}: {listed}");
        sleep(Duration::from_millis(50)).await;
    };
    ensure!(listed["count"] == MALFORMED.len(), "{} dead letters expected: {listed}", MALFORMED.len());
    // The dead letters of one user are in the order of their records; the newest is listed first.
    let oldest_first = listed["deadLetters"].as_array().into_iter().flatten().rev();
    for ((what, value), dead_letter) in MALFORMED.iter().zip(oldest_first) {
        let found = dead_letter["value"]["text"].as_str();
        ensure!(found == *value, "{what}: another value in {dead_letter}");
        ensure!(!text(&dead_letter["reason"]).is_empty(), "{what}: no reason in {dead_letter}");
        ensure!(dead_letter["source"]["topic"] == name, "{what}: another topic in {dead_letter}");
    }
    Ok(())
}

/// The ids of these events, none of which may occur twice.
fn unique<'a>(events: impl IntoIterator<Item = &'a Value>) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for event in events {
        let id = text(&event["eventId"]).to_owned();
        ensure!(!ids.contains(&id), "{id} is there twice");
        ids.insert(id);
    }
    Ok(ids)
}

async fn processed(service: &ServiceUnderTest, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let listed = service.read("/events/processed").await?;
    let found = unique(listed.as_array().context("no array")?)?;
    ensure!(found == *ids, "{} events are listed, {} were posted", found.len(), ids.len());
    Ok(())
}

async fn pages(service: &ServiceUnderTest, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut path = "/events/processed?limit=2".to_owned();
    let mut events = Vec::new();
    for _ in 0..=ids.len() {
        let page = service.answers(200, &Request::get(path.as_str())).await?;
        events.extend(page.json().as_array().context("no array")?.iter().cloned());
        let next = page.header("link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        let Some((next, _)) = next else {
            let found = unique(&events)?;
            ensure!(found == *ids, "{} events are listed, {} were posted", found.len(), ids.len());
            return Ok(());
        };
        path = next.to_owned();
    }
    bail!("the pages have no end")
}

async fn selected(service: &ServiceUnderTest, name: &str, twin: &Value) -> anyhow::Result<()> {
    let of_user = service.read(&format!("/api/events/user/{name}")).await?;
    let events = of_user["events"].as_array().context("no events")?;
    // One event of /api/events, the repeated one and the last one.
    ensure!(of_user["count"] == 3 && events.len() == 3, "3 events of the user expected: {of_user}");
    ensure!(events.iter().all(|event| event["userId"] == name), "of another user: {of_user}");
    ensure!(
        events
            .iter()
            .any(|event| event["eventId"] == twin["eventId"]
                && event["timestamp"] == "2025-01-01T00:00:00.000Z"),
        "no event with the id and time that were posted: {of_user}"
    );
    // The name serves as a type as well, and types are compared without case.
    let of_type = service.read(&format!("/api/events/type/{}", name.to_uppercase())).await?;
    ensure!(of_type["count"] == 1, "1 event of type {name} expected: {of_type}");
    let before = service.read(&format!("/events/processed?userId={name}&to=2025-01-02T00:00:00Z")).await?;
    ensure!(
        before.as_array().is_some_and(|events| events.len() == 1),
        "1 event of that day expected: {before}"
    );
    Ok(())
}

/// Waits until the store has seen the four repeats and each partition is processed to its end.
async fn caught_up(service: &ServiceUnderTest, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let end = Instant::now() + TIMEOUT;
    loop {
        let health = service.read("/health").await?;
        let store = &health["store"];
        ensure!(store["events"] == ids.len(), "{} events expected: {store}", ids.len());
        let partitions = health["group"]["partitions"].as_array().context("no partitions")?;
        ensure!(!partitions.is_empty(), "no partition is assigned");
        let done = |partition: &Value| partition["position"].as_i64() >= partition["end"].as_i64();
        if store["duplicates"].as_i64() >= Some(4) && partitions.iter().all(done) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "not within {TIMEOUT:?}: {health}");
        sleep(Duration::from_millis(50)).await;
    }
}
